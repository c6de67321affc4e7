"""Runs of tokens in a batch that share an adapter slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """Tokens from `start` up to `end` of one slot."""

    slot: int
    start: int
    end: int


def runs_of(slots: Sequence[int], counts: Sequence[int]) -> list[Run]:
    """Runs from each run's slot and number of tokens; slot -1 marks tokens without an adapter."""
    runs, end = [], 0
    for slot, count in zip(slots, counts, strict=True):
        start, end = end, end + count
        if slot >= 0:
            runs.append(Run(slot, start, end))
    return runs


def mirrored(runs: Sequence[Run]) -> list[Run]:
    """Runs of the pairs of slots 2j and 2j + 1, each under its even slot; neighbours of one pair become one run."""
    merged: list[Run] = []
    for run in runs:
        even = run.slot - run.slot % 2
        last = merged[-1] if merged else None
        if last is not None and last.slot == even and last.end == run.start:
            merged[-1] = Run(even, last.start, run.end)
        else:
            merged.append(Run(even, run.start, run.end))
    return merged
