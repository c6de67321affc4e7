"""Who meets whom: with all workers, without a missing one, and again when it comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from fixtures.seaweed import free_ports
from zo_runtime.errors import Interrupted
from zo_runtime.workers.gloo import FollowerRendezvous, LeaderRendezvous
from zo_runtime.workers.group import Alone, Group, WorkerLost

PATIENCE = (0.5, 0.5)


class Place:
    """A leader's rendezvous, and followers that meet it in threads."""

    def __init__(self, pool: ThreadPoolExecutor, size: int, *, going_on: bool):
        self.stop, self.said = threading.Event(), list[str]()
        self._pool, self._size, self._port = pool, size, free_ports(1)[0]
        self.leader = LeaderRendezvous(self._port, size, self.stop.is_set, self.said.append, going_on, PATIENCE)

    def follower(self, rank: int) -> Future[Group]:
        rendezvous = FollowerRendezvous("127.0.0.1", self._port, rank, self._size, self.said.append)
        return self._pool.submit(rendezvous.meet)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def together(pool: ThreadPoolExecutor, groups: list[Group]) -> None:
    """Everybody gathers everybody's place."""
    found = pool.map(lambda group: group.gather(np.array([group.rank], np.float64)), groups)
    assert [[int(each[0]) for each in places] for places in found] == [list(range(len(groups)))] * len(groups)


def test_all_meet_and_nobody_waits(pool: ThreadPoolExecutor) -> None:
    place = Place(pool, 3, going_on=True)
    followers = [place.follower(rank) for rank in (2, 1)]
    groups: list[Group] = [place.leader.meet(), followers[1].result(20), followers[0].result(20)]
    assert [(group.rank, group.size) for group in groups] == [(0, 3), (1, 3), (2, 3)]
    together(pool, groups)
    assert not place.leader.someone_waits()
    for group in groups:
        group.close()


def test_a_missing_worker_joins_when_it_comes(pool: ThreadPoolExecutor) -> None:
    place = Place(pool, 3, going_on=True)
    second = place.follower(2)
    groups: list[Group] = [place.leader.meet(), second.result(20)]
    assert [(group.rank, group.size) for group in groups] == [(0, 2), (1, 2)]  # the third takes the second's place
    together(pool, groups)
    assert not place.leader.someone_waits()
    first = place.follower(1)
    assert eventually(place.leader.someone_waits)
    for group in groups:
        group.close()
    second = place.follower(2)
    groups = [place.leader.meet(), first.result(20), second.result(20)]
    together(pool, groups)
    assert not place.leader.someone_waits()
    for group in groups:
        group.close()


def test_a_leader_without_followers_goes_on_alone_until_one_comes(pool: ThreadPoolExecutor) -> None:
    place = Place(pool, 2, going_on=True)
    group: Group = place.leader.meet()
    assert isinstance(group, Alone)
    together(pool, [group])
    assert group.collect(np.ones(2)) is not None
    began = time.monotonic()
    assert isinstance(place.leader.meet(), Alone)  # nobody is expected any more
    assert time.monotonic() - began < PATIENCE[1]
    follower = place.follower(1)
    assert eventually(place.leader.someone_waits)
    groups: list[Group] = [place.leader.meet(), follower.result(20)]
    together(pool, groups)
    for each in groups:
        each.close()


def test_one_who_waits_has_no_patience_to_lose(pool: ThreadPoolExecutor) -> None:
    place = Place(pool, 3, going_on=False)
    first = place.follower(1)
    threading.Timer(3 * PATIENCE[0], place.stop.set).start()
    with pytest.raises(Interrupted, match="stopped while waiting for workers"):
        place.leader.meet()
    assert not place.leader.someone_waits()  # a group without it is no group here
    place.stop.clear()
    second = place.follower(2)
    groups: list[Group] = [place.leader.meet(), first.result(20), second.result(20)]
    together(pool, groups)
    for group in groups:
        group.close()


def test_whoever_is_in_a_broken_group_is_told(pool: ThreadPoolExecutor) -> None:
    place = Place(pool, 2, going_on=True)
    follower = place.follower(1)
    leader, other = place.leader.meet(), follower.result(20)
    waiting = pool.submit(other.broadcast, np.zeros(3))
    leader.close()
    with pytest.raises(WorkerLost):
        waiting.result(20)
    other.close()
