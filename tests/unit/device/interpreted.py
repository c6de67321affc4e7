"""Triton's kernel against the reference. `test_triton.py` runs this file in a process with TRITON_INTERPRET=1."""

import os
from dataclasses import replace

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zo_runtime.device.bank import DeviceBank
from zo_runtime.device.torch_draws import TorchDraws
from zo_runtime.device.triton_draws import TritonDraws
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.directions import BASIS, Distribution, Stream, draw_reference
from zo_runtime.zo.estimator import round_coefficient
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.pieces import Piece, total

CPU = torch.device("cpu")
# One program takes 1024 numbers: below, at and above a tile and a program.
sizes = st.sampled_from([1, 3, 64, 65, 511, 512, 513])
seeds = st.one_of(st.integers(0, 2**64 - 1), st.just(2**64 - 1))
u32 = st.one_of(st.integers(0, 2**32 - 1), st.just(BASIS))
distributions = st.sampled_from(["binomial16", "rademacher"])
layouts = st.builds(
    BankLayout,
    st.lists(st.builds(TensorShape, st.just("m.0.q_proj"), sizes, st.integers(1, 70)), min_size=1, max_size=2).map(
        tuple
    ),
    rank=st.integers(1, 3),
    subspaces=st.integers(1, 3),
)
methods = st.builds(
    Method,
    seed=seeds,
    interval=st.integers(1, 5),
    directions=st.integers(1, 3),
    epsilon=st.just(2.0**-10),
    distribution=distributions,
    momentum=st.one_of(st.none(), st.floats(0, 0.99)),
    weight_decay=st.sampled_from([0.0, 0.1]),
)


def test_triton_is_interpreted() -> None:
    assert os.environ["TRITON_INTERPRET"] == "1"
    assert type(TritonDraws([Piece(0, 0, 1)], CPU).draw(Method(1, 1, 1, 1.0), 1, 0)) is torch.Tensor


pieces = st.lists(
    st.builds(lambda tensor, start, size: Piece(tensor, start, start + size), u32, st.integers(0, 3000),
              st.integers(1, 1500)), min_size=1, max_size=3,
)  # fmt: skip


@settings(max_examples=25)
@given(pieces, seeds, u32, u32, distributions)
@example([Piece(7, 0, 1024)], 5, 1, 0, "binomial16")
@example([Piece(BASIS, 2**32 * 8 - 300, 2**32 * 8)], 5, BASIS, BASIS, "rademacher")
def test_any_pieces_are_slices_of_the_whole(
    some: list[Piece], seed: int, step: int, direction: int, distribution: Distribution
) -> None:
    """A shard is drawn alone: rows of B (one piece), columns of A (a piece for each row)."""
    method = Method(seed, 1, 1, 2.0**-10, distribution)
    drawn = TritonDraws(some, CPU).draw(method, step, direction)
    assert drawn.numpy().tobytes() == TorchDraws(some, CPU).draw(method, step, direction).numpy().tobytes()
    if all(piece.stop < 10_000 for piece in some):
        whole = [draw_reference(Stream(seed, p.tensor, step, direction, distribution), p.stop) for p in some]
        parts = [numbers[p.start :] for p, numbers in zip(some, whole, strict=True)]
        assert drawn.numpy().tobytes() == np.concatenate(parts).tobytes()
    assert len(drawn) == total(some)


@settings(max_examples=12)
@given(layouts, methods, st.integers(1, 7), st.integers(0, 2**31), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_bank_has_the_reference_s_bits(
    layout: BankLayout, method: Method, steps: int, jump: int, zeros: bool, entropy: int
) -> None:
    """Several steps in a launch, and one in each; coefficients of any size, some zero; a jump in the middle."""
    rng = np.random.default_rng(entropy)
    host, many, one = Bank(layout, method), triton_bank(layout, method), triton_bank(layout, method)
    updates, previous = [], 0
    for made in range(1, steps + 1):
        step = made + (jump if made > steps // 2 else 0)
        row = rng.normal(size=method.directions) * 10.0 ** rng.integers(-30, 2)
        if zeros:
            row[rng.integers(method.directions)] = 0.0
        rate = float(np.float32(rng.random() * 10.0 ** rng.integers(-9, 0)))
        updates.append(Update(step, rate, tuple(round_coefficient(c) for c in row), previous))
        previous = step
    host.apply(updates)
    many.apply(updates)
    for update in updates:
        one.apply([update])
    assert many.digest() == one.digest() == host.digest()
    assert many.direction(previous, 1).numpy().tobytes() == host.flat_direction(previous, 1).tobytes()
    for k in range(layout.subspaces):
        assert many.subspace(k).numpy().tobytes() == host.values[k].tobytes()
        for i in range(len(layout.tensors)):
            assert many.basis(i, k).numpy().tobytes() == host.basis(i, k).tobytes()


@settings(max_examples=15)
@given(methods, st.integers(0, 599), st.integers(1, 600), st.integers(1, 6))
def test_a_rank_can_keep_its_rows_alone(method: Method, start: int, count: int, steps: int) -> None:
    """Updates of a shard are the whole update's rows, whatever tile they begin in."""
    layout = BankLayout((TensorShape("m.0.q_proj", 600, 8),), rank=2, subspaces=1)
    stop = min(start + count, 600)
    host = Bank(layout, method)
    shard = torch.zeros((stop - start) * 2)
    momentum = None if method.momentum is None else torch.zeros_like(shard)
    rng = np.random.default_rng(steps)
    updates = [
        Update(t, 0.01, tuple(round_coefficient(c) for c in rng.normal(size=method.directions)))
        for t in range(1, steps + 1)
    ]
    host.apply(updates)
    TritonDraws([Piece(0, start * 2, stop * 2)], CPU).apply(shard, momentum, updates, method)
    assert shard.numpy().tobytes() == host.values[0, start * 2 : stop * 2].tobytes()
    if momentum is not None and host.momentum is not None:
        assert momentum.numpy().tobytes() == host.momentum[0, start * 2 : stop * 2].tobytes()


def test_what_is_beside_a_piece_is_left_alone() -> None:
    method = Method(3, 1, 1, 2.0**-10, momentum=0.9)
    numbers, momentum = torch.full((300,), 7.0), torch.full((300,), 5.0)
    TritonDraws([Piece(0, 130, 230)], CPU).apply(
        numbers[100:200], momentum[100:200], [Update(1, 0.5, (0.25,))], method
    )
    for array, before in ((numbers, 7.0), (momentum, 5.0)):
        assert (array[:100] == before).all()
        assert (array[200:] == before).all()
        assert (array[100:200] != before).any()


def test_a_negative_zero_is_kept_where_nothing_is_added() -> None:
    """A zero times a number is zero of either sign, and -0 + 0 is 0."""
    numbers = torch.full((64,), -0.0)
    method = replace(Method(3, 1, 1, 2.0**-10), weight_decay=0.5)
    TritonDraws([Piece(0, 0, 64)], CPU).apply(numbers, None, [Update(1, 0.5, (0.0,))], method)
    assert torch.signbit(numbers).all()


def triton_bank(layout: BankLayout, method: Method) -> DeviceBank:
    return DeviceBank(layout, method, CPU, TritonDraws)
