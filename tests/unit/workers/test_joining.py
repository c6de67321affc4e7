"""The leader and its followers as threads, with the toy model: joining, missing and coming back change no loss."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from fakes.group import thread_groups
from fakes.toy import SIZE, ToyScorer
from zo_runtime.data.examples import Example
from zo_runtime.workers.follower import Follower
from zo_runtime.workers.group import Alone, Group
from zo_runtime.workers.leader import SharedScorer
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.method import Method, Update

LAYOUT = BankLayout((TensorShape("toy.q_proj", 2, SIZE),), rank=2, subspaces=2)
METHOD = Method(seed=3, interval=2, directions=2, epsilon=2.0**-4)
EXAMPLES = [Example((i % 12, 8, 9), ((30,), (31,)), i % 2) for i in range(10)]
COEFFICIENTS = (0.5, -0.25)
FINGERPRINT = "cd" * 32


class Meetings:
    """Groups in the order in which the leader forms them; followers wait for theirs."""

    def __init__(self) -> None:
        self._waiting: dict[int, queue.Queue[Group]] = {1: queue.Queue(), 2: queue.Queue()}
        self._plan: list[tuple[int, ...]] = []
        self.someone_waits = False

    def next_are(self, *members: tuple[int, ...]) -> None:
        self._plan += members

    def meet(self) -> Group:
        members, self.someone_waits = self._plan.pop(0), False
        leader, *groups = thread_groups(len(members) + 1) if members else [Alone()]
        for rank, group in zip(members, groups, strict=True):
            self._waiting[rank].put(group)
        return leader

    def of(self, rank: int) -> Callable[[], Group]:
        return lambda: self._waiting[rank].get(timeout=30)


def test_whoever_is_there_the_losses_and_banks_are_those_of_one() -> None:
    meetings, said = Meetings(), list[str]()
    local, alone = ToyScorer(LAYOUT, METHOD), ToyScorer(LAYOUT, METHOD)
    leader = SharedScorer(
        local, 2, meetings.meet, FINGERPRINT, said.append, [EXAMPLES], lambda: meetings.someone_waits
    )
    scorers = [ToyScorer(LAYOUT, METHOD) for _ in range(2)]
    followers = [
        Follower(scorer, 2, lambda step: EXAMPLES, [EXAMPLES], FINGERPRINT, meetings.of(rank), said.append)
        for rank, scorer in enumerate(scorers, 1)
    ]
    threads = [threading.Thread(target=follower.run) for follower in followers]
    for thread in threads:
        thread.start()
    # Alone at first; then the second follower joins, then the first, which has everything to catch up on.
    meetings.next_are((), (2,), (1, 2))
    for step in range(1, 13):
        if step in (4, 8):
            meetings.someone_waits = True
        assert leader.score(EXAMPLES, step) == alone.score(EXAMPLES, step)
        for scorer in (leader, alone):
            scorer.apply([Update(step, 1.0, COEFFICIENTS)])
        if step in (3, 7, 11):
            assert leader.judge(EXAMPLES) == alone.judge(EXAMPLES)
            assert leader.digest() == alone.digest()
    leader.dismiss()
    for thread in threads:
        thread.join(30)
    assert [line for line in said if "together" in line] == [
        "1 workers together at step 0",
        "2 workers together at step 3",
        "3 workers together at step 7",
    ]
    assert {scorer.digest() for scorer in scorers} == {alone.digest()}
    assert all("broke" not in line for line in said)
