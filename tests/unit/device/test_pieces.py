"""How pieces are shared out, and which way draws on which device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.device import draws
from zo_runtime.device.blocks import block_table
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.pieces import Piece, all_bases, all_factors, total

pieces = st.lists(
    st.builds(lambda tensor, start, size: Piece(tensor, start, start + size), st.integers(0, 9),
              st.integers(0, 2**33), st.integers(1, 5000)), max_size=4,
)  # fmt: skip


@given(pieces, st.integers(1, 9))
def test_every_number_has_one_program_and_its_own_counter(some: list[Piece], tiles: int) -> None:
    seen = []
    for tensor, counter, home, low, high in block_table(some, tiles).tolist():
        assert 0 <= low < high <= tiles * 128
        assert counter % 16 == 0
        seen += [(home + e, tensor, counter // 16 * 128 + e) for e in range(low, high)]
    wanted = [(piece.tensor, e) for piece in some for e in range(piece.start, piece.stop)]
    assert seen == [(place, tensor, e) for place, (tensor, e) in enumerate(wanted)]
    assert total(some) == len(wanted)


def test_the_pieces_of_a_bank_are_its_matrices() -> None:
    layout = BankLayout((TensorShape("a", 5, 3), TensorShape("b", 7, 11)), rank=2, subspaces=3)
    assert all_factors(layout) == [Piece(0, 0, 10), Piece(1, 0, 14)]
    assert np.cumsum([0, *(p.stop for p in all_factors(layout))]).tolist() == list(layout.offsets)
    assert all_bases(layout) == [Piece(0, 0, 6), Piece(1, 0, 22)]


def test_triton_draws_on_a_gpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zo_runtime.device.triton_draws.TritonDraws", lambda pieces, device: "triton")
    monkeypatch.setattr(draws, "TorchDraws", lambda pieces, device: "torch")
    gpu, cpu = torch.device("cuda", 1), torch.device("cpu")
    assert (draws.make_draws([], gpu), draws.make_draws([], cpu)) == ("triton", "torch")
    monkeypatch.setattr(draws, "find_spec", lambda name: None)
    assert draws.make_draws([], gpu) == "torch"
