"""Runs of tokens: every token keeps its slot, or its pair of slots."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.vllm_ext.runs import Run, mirrored, runs_of

BATCH = st.lists(st.tuples(st.integers(-1, 5), st.integers(1, 4)), max_size=12)


def slots_of(runs: list[Run], tokens: int) -> list[int | None]:
    found: list[int | None] = [None] * tokens
    for run in runs:
        assert found[run.start : run.end] == [None] * (run.end - run.start), "two runs share a token"
        found[run.start : run.end] = [run.slot] * (run.end - run.start)
    return found


@given(BATCH)
def test_every_token_is_in_the_run_of_its_slot(batch: list[tuple[int, int]]) -> None:
    runs = runs_of([slot for slot, _ in batch], [count for _, count in batch])
    expected = [None if slot < 0 else slot for slot, count in batch for _ in range(count)]
    assert slots_of(runs, len(expected)) == expected


@given(BATCH)
def test_a_pair_of_slots_becomes_its_even_one(batch: list[tuple[int, int]]) -> None:
    runs = runs_of([slot for slot, _ in batch], [count for _, count in batch])
    expected = [None if slot < 0 else slot // 2 * 2 for slot, count in batch for _ in range(count)]
    merged = mirrored(runs)
    assert slots_of(merged, len(expected)) == expected
    neighbours = itertools.pairwise(merged)
    assert not any(a.slot == b.slot and a.end == b.start for a, b in neighbours), "two runs that could be one"


def test_the_plus_and_the_minus_half_of_a_step_are_one_run() -> None:
    assert mirrored(runs_of([0, 1, 2, 3], [5, 5, 7, 7])) == [Run(0, 0, 10), Run(2, 10, 24)]
