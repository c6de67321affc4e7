"""The pure parts of sharing a run: fair shares, rows in order, the worker's place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.group import thread_groups
from zo_runtime.errors import EngineFailed, InvalidData, InvalidSpec
from zo_runtime.workers.exchange import require_one_bank, require_one_input, to_rows, to_updates
from zo_runtime.workers.group import Group
from zo_runtime.workers.leader import common_step
from zo_runtime.workers.membership import Membership, membership
from zo_runtime.workers.sharing import collect_rows, shares
from zo_runtime.zo.method import Update

T = TypeVar("T")


@given(st.lists(st.integers(1, 500), max_size=40), st.integers(1, 9))
def test_shares_cover_everything_once_and_are_fair(costs: list[int], workers: int) -> None:
    parts = shares(costs, workers)
    assert len(parts) == workers
    assert [i for part in parts for i in range(len(costs))[part]] == list(range(len(costs)))
    fair = sum(costs) / workers
    assert all(sum(costs[part]) < fair + 2 * max(costs, default=0) for part in parts if costs)


@given(st.lists(st.integers(1, 20), max_size=12), st.integers(1, 4))
def test_rows_are_collected_in_order_by_the_leader(costs: list[int], workers: int) -> None:
    parts, rows = shares(costs, workers), np.arange(2.0 * len(costs)).reshape(-1, 2)
    found = everywhere(workers, lambda group: collect_rows(group, rows[parts[group.rank]], parts, group.rank + 1))
    (collected, count), *others = found
    assert np.array_equal(collected, rows)
    assert count == workers * (workers + 1) / 2
    assert all(len(rest) == 0 and total == 0 for rest, total in others)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3))))
def test_updates_survive_the_wire(values: list[tuple[float, list[float]]]) -> None:
    updates = [Update(2**40 + i, rate, tuple(numbers)) for i, (rate, numbers) in enumerate(values)]
    assert to_updates(to_rows(updates, 3)) == updates
    jumping = [replace(update, after=update.step - 5) for update in updates]
    assert to_updates(to_rows(jumping, 3)) == jumping


places = st.tuples(st.integers(0, 2), st.integers(0, 99))


@given(places, st.lists(places, max_size=5))
def test_everybody_starts_from_a_step_that_all_have(
    leader: tuple[int, int], followers: list[tuple[int, int]]
) -> None:
    start = common_step([leader, *followers])
    kept = [step if step <= leader[1] and resets == leader[0] else 0 for resets, step in followers]
    assert start == min([leader[1], *kept])


def test_different_banks_and_inputs_are_found_by_every_worker() -> None:
    for check, error in ((require_one_bank, EngineFailed), (require_one_input, InvalidData)):

        def differs(group: Group, check: Callable[[Group, str], None] = check, error: type = error) -> bool:
            with pytest.raises(error, match=r"worker [012] "):
                check(group, ("ab" if group.rank == 2 else "cd") * 32)
            return True

        assert everywhere(3, differs) == [True, True, True]


def test_a_place_is_read_from_the_environment() -> None:
    given = {"ZO_WORKERS": "3", "JOB_COMPLETION_INDEX": "2", "ZO_RENDEZVOUS": "run-0.svc:29400"}
    assert membership(given) == Membership(2, 3, "run-0.svc", 29400)
    assert membership(given | {"ZO_WHEN_WORKER_LOST": "Continue"}) == Membership(2, 3, "run-0.svc", 29400, True)
    assert membership({}) is None
    assert membership({"ZO_WORKERS": "1"}) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ZO_WORKERS": "many"}, "ZO_WORKERS=many: must be a whole number from 1"),
        ({"JOB_COMPLETION_INDEX": "3"}, "JOB_COMPLETION_INDEX=3: there are 3 workers, so it must be below 3"),
        ({"JOB_COMPLETION_INDEX": ""}, "JOB_COMPLETION_INDEX=: must be a whole number from 0"),
        ({"ZO_RENDEZVOUS": "somewhere"}, "ZO_RENDEZVOUS=somewhere: several workers need HOST:PORT"),
        ({"ZO_WHEN_WORKER_LOST": "continue"}, "ZO_WHEN_WORKER_LOST=continue: must be Wait or Continue"),
    ],
)
def test_a_wrong_place_is_one_sentence(change: dict[str, str], sentence: str) -> None:
    given = {"ZO_WORKERS": "3", "JOB_COMPLETION_INDEX": "2", "ZO_RENDEZVOUS": "run-0.svc:29400"} | change
    with pytest.raises(InvalidSpec, match=sentence):
        membership(given)


def everywhere(size: int, work: Callable[[Group], T]) -> list[T]:
    """Run the same code as every worker of a group; results by rank."""
    results: dict[int, T] = {}

    def one(group: Group) -> None:
        results[group.rank] = work(group)

    threads = [threading.Thread(target=one, args=(group,)) for group in thread_groups(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [results[rank] for rank in range(size)]
