"""Ranks that draw and update their own rows alone hold the numbers of the whole bank, and make it up again."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.methods import make_updates, methods
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.method import Method
from zo_runtime.zo.pieces import Piece, rows_of_factors, total
from zo_runtime.zo.shards import ShardsDiffer, assemble

# Rows of 2 numbers: shards begin and end inside tiles of 128.
LAYOUT = BankLayout((TensorShape("a.qkv", 201, 3), TensorShape("a.o", 64, 7), TensorShape("b.o", 1, 5)), 2, 3)
PLAIN = Method(seed=1, interval=2, directions=1, epsilon=2.0**-10)

Rows = list[list[tuple[int, int]]]


@st.composite
def groups(draw: st.DrawFn) -> list[Rows]:
    """The rows of each layer that each rank holds: cut between ranks, cut into three fused parts, or held by all."""
    ranks = draw(st.integers(1, 4))
    group: list[Rows] = [[] for _ in range(ranks)]
    for tensor in LAYOUT.tensors:
        size, way = tensor.out_features, draw(st.sampled_from(["cut", "fused", "all"]))
        parts = 3 if way == "fused" else 1
        edges = [size * i // parts for i in range(parts + 1)]
        for rank in range(ranks):
            runs = []
            for low, high in itertools.pairwise(edges):
                own = (low + (high - low) * rank // ranks, low + (high - low) * (rank + 1) // ranks)
                runs.append((low, high) if way == "all" else own)
            group[rank].append([run for run in runs if run[0] < run[1]])
    return group


@settings(max_examples=40, deadline=None)
@given(methods, groups(), st.integers(0, 7), st.integers(1, 3))
def test_the_ranks_of_a_group_make_up_the_whole_bank(method: Method, group: list[Rows], steps: int, threads: int):
    whole, updates = Bank(LAYOUT, method), make_updates(method, steps)
    whole.apply(updates)
    banks = [Bank(LAYOUT, method, rows_of_factors(LAYOUT, rows)) for rows in group]
    for bank in banks:
        bank.apply(updates[:2], threads)
        for update in updates[2:]:
            bank.apply_drawn(update, [bank.flat_direction(update.step, j) for j in range(method.directions)])
    assert assemble(banks).digest() == whole.digest()
    # What a rank draws is its own rows of what one that has all of them draws.
    direction = whole.flat_direction(steps + 1, 0)
    for bank in banks:
        own = [direction[LAYOUT.offsets[p.tensor] :][p.start : p.stop] for p in bank.pieces]
        drawn = bank.flat_direction(steps + 1, 0, threads)
        assert drawn.tobytes() == np.concatenate([*own, np.empty(0, np.float32)]).tobytes()
        assert bank.copy().values.shape == (3, total(bank.pieces))


def two_ranks() -> list[Bank]:
    rows: list[Rows] = [[[(0, 100)], [(0, 64)], [(0, 1)]], [[(100, 201)], [(0, 64)], [(0, 1)]]]
    banks = [Bank(LAYOUT, PLAIN, rows_of_factors(LAYOUT, each)) for each in rows]
    for bank in banks:
        bank.apply(make_updates(PLAIN, 4))
    return banks


def test_two_ranks_that_agree():
    assert assemble(two_ranks()).step == 4


def test_a_layer_that_both_hold_has_to_be_the_same_to_the_bit():
    first, second = two_ranks()
    values = second.values
    values[0, 2 * 101] = -0.0 if values[0, 2 * 101] == 0 else np.nextafter(values[0, 2 * 101], np.float32(1))
    with pytest.raises(ShardsDiffer, match=r"rank 1 has other numbers of a\.o"):
        assemble([first, second])


def test_ranks_are_at_one_step():
    first, second = two_ranks()
    second.step = 3
    with pytest.raises(ShardsDiffer, match="the ranks are at the steps 3, 4"):
        assemble([first, second])


def test_rows_that_nobody_holds_are_missed():
    first, second = two_ranks()
    lost = Bank(LAYOUT, PLAIN, second.pieces[1:])
    lost.apply(make_updates(PLAIN, 4))
    with pytest.raises(ShardsDiffer, match=r"no rank has all of a\.qkv"):
        assemble([first, lost])


def test_a_piece_is_counted_in_numbers():
    assert rows_of_factors(LAYOUT, [[(3, 5), (9, 10)], [], [(0, 1)]]) == [
        Piece(0, 6, 10),
        Piece(0, 18, 20),
        Piece(2, 0, 2),
    ]
