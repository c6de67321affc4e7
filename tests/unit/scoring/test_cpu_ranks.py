"""Cores for ranks: all of them, none twice, as equal as they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.vllm_ext.cpu_ranks import shared_out


@given(st.integers(1, 8).flatmap(lambda ranks: st.tuples(st.just(ranks), st.integers(ranks, 40))))
def test_every_core_has_one_rank(sizes: tuple[int, int]) -> None:
    ranks, count = sizes
    cores = [3 * core for core in range(count)]
    lists = [[int(core) for core in part.split(",")] for part in shared_out(cores, ranks).split("|")]
    assert [core for part in lists for core in part] == cores
    assert len(lists) == ranks
    assert max(map(len, lists)) - min(map(len, lists)) <= 1
