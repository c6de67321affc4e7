"""Two workers behind one scorer: what they judge, and where they stand after a reset, whoever was away."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from fakes.group import ThreadGroup, thread_groups
from fakes.toy import SIZE, VOCABULARY, ToyModel, ToyScorer
from zo_runtime.data.examples import Example
from zo_runtime.scoring.plan import step_items
from zo_runtime.workers.follower import Follower
from zo_runtime.workers.leader import SharedScorer
from zo_runtime.zo.method import Method, Update

METHOD = Method(seed=4, interval=3, directions=1, epsilon=2**-10)
LAYOUT = ToyModel().layout(2, 2)
CANDIDATES = ((VOCABULARY[" no"],), (VOCABULARY[" yes"],))
FINGERPRINT = "ab" * 32


def examples(count: int, start: int) -> list[Example]:
    return [Example((i % SIZE, (7 * i + 3) % SIZE), CANDIDATES, i % 2) for i in range(start, start + count)]


SETS = (examples(13, 0), examples(5, 50))


def updates(count: int, size: float) -> list[Update]:
    return [Update(step, 0.1, (size * (-1) ** step,)) for step in range(1, count + 1)]


class Pair:
    """A leader here and a follower on a thread. `meetings[n]` are both workers' ends of their n-th group."""

    def __init__(self) -> None:
        self.meetings = [thread_groups(2) for _ in range(3)]
        self.alone = ToyScorer(LAYOUT, METHOD)
        self.leader = SharedScorer(
            ToyScorer(LAYOUT, METHOD), 1, self._meet(0), FINGERPRINT, lambda _: None, sets=SETS
        )
        self.follower = Follower(
            scorer=ToyScorer(LAYOUT, METHOD),
            directions=1,
            batch=lambda step: examples(4, step),
            sets=[list(one) for one in SETS],
            fingerprint=FINGERPRINT,
            meet=self._meet(1),
            notify=lambda _: None,
        )
        self._thread = threading.Thread(target=self.follower.run, daemon=True)
        self._thread.start()

    def _meet(self, rank: int) -> Callable[[], ThreadGroup]:
        left = iter(self.meetings)
        return lambda: next(left)[rank]

    def apply(self, path: list[Update]) -> None:
        self.leader.apply(path)
        self.alone.apply(path)

    def reset(self) -> None:
        self.leader.reset()
        self.alone.reset()

    def require_agreement(self) -> None:
        for one in SETS:
            assert self.leader.judge(one) == self.alone.judge(one)
        assert self.leader.digest() == self.alone.digest()
        step = self.alone.bank.step + 1
        items = step_items(examples(4, step), 1)
        assert self.leader.score(examples(4, step), step).plus == pytest.approx(
            [sum(plus for plus, _ in self.alone.score_items(items, step).pairs) / 4]
        )

    def end(self) -> None:
        self.leader.dismiss()
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert self.follower.scorer.digest() == self.alone.digest()


@pytest.fixture
def pair() -> Pair:
    return Pair()


def break_group(groups: list[ThreadGroup]) -> None:
    groups[0].close()


def test_both_sets_are_judged_as_by_one_worker(pair: Pair) -> None:
    pair.apply(updates(4, 0.25))
    pair.require_agreement()
    pair.end()


def test_a_reset_leads_to_another_path(pair: Pair) -> None:
    pair.apply(updates(4, 0.25))
    pair.require_agreement()
    pair.reset()
    pair.require_agreement()
    pair.apply(updates(6, -0.5))
    pair.require_agreement()
    pair.end()


def test_a_follower_that_missed_a_reset_starts_anew(pair: Pair) -> None:
    """It stands at a step that is on the leader's new path as well, but came there by other updates."""
    pair.apply(updates(4, 0.25))
    pair.require_agreement()
    break_group(pair.meetings[0])
    pair.reset()
    pair.apply(updates(6, -0.5))
    pair.require_agreement()
    pair.end()


def test_a_follower_that_was_reset_and_lost_goes_on_where_it_is(pair: Pair) -> None:
    pair.apply(updates(4, 0.25))
    pair.require_agreement()
    pair.reset()
    pair.apply(updates(6, -0.5))
    pair.require_agreement()
    break_group(pair.meetings[0])
    pair.apply([Update(7, 0.1, (0.125,))])
    pair.require_agreement()
    pair.end()
