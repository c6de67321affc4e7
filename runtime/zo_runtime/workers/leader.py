"""The leader's scorer: its own engine and the followers', behind the same protocol as one engine alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np

from zo_runtime.data.examples import Example
from zo_runtime.scoring.plan import step_items, step_losses
from zo_runtime.scoring.protocol import Judged, Losses, PartialScorer
from zo_runtime.workers.exchange import (
    Operation,
    announce,
    judge_together,
    require_one_bank,
    require_one_input,
    score_together,
    to_rows,
)
from zo_runtime.workers.group import Floats, Group, WorkerLost
from zo_runtime.zo.method import Update

T = TypeVar("T")


class SharedScorer:
    """`Scorer` over a group of workers.

    `meet` forms a group of all workers, or of those that can be had; it may raise `Interrupted`. `someone_waits`
    tells of a worker that wants to join: before the next piece of work all meet again. `fingerprint` (hex) names the
    data, the model and the settings, on which all workers must agree. `sets` are the examples that can be judged: the
    followers have the same, in the same order.
    """

    def __init__(
        self,
        local: PartialScorer,
        directions: int,
        meet: Callable[[], Group],
        fingerprint: str,
        notify: Callable[[str], None],
        sets: Sequence[Sequence[Example]],
        someone_waits: Callable[[], bool] = lambda: False,
    ):
        self._local, self._directions, self._fingerprint = local, directions, fingerprint
        self._meet, self._notify, self._sets, self._someone_waits = meet, notify, sets, someone_waits
        self._group: Group | None = None
        self._history: list[Floats] = []  # the rows of every update so far, for those who come late
        self._step = self._resets = 0

    def apply(self, updates: Sequence[Update]) -> None:
        """`Scorer.apply`."""
        if not updates:
            return
        self._local.apply(updates)
        rows = to_rows(updates, self._directions)
        self._history.append(rows)
        self._step = updates[-1].step
        if self._group is None:
            return  # whoever joins gets the whole history
        try:
            _send_updates(self._group, rows)
        except WorkerLost as lost:
            self._lose(lost)

    def score(self, examples: Sequence[Example], step: int) -> Losses:
        """`Scorer.score`."""
        items = step_items(examples, self._directions)

        def together(group: Group) -> Losses:
            announce(group, Operation.SCORE, step)
            return step_losses(score_together(group, self._local, items, step), self._directions)

        return self._together(together)

    def judge(self, examples: Sequence[Example]) -> list[Judged]:
        """`Scorer.judge` for one of the sets."""
        number = [known is examples for known in self._sets].index(True)

        def together(group: Group) -> list[Judged]:
            announce(group, Operation.JUDGE, number)
            return judge_together(group, self._local, examples)

        return self._together(together)

    def reset(self) -> None:
        """`Scorer.reset`."""
        self._local.reset()
        self._history.clear()
        self._step = 0
        self._resets += 1
        if self._group is None:
            return
        try:
            announce(self._group, Operation.RESET)
        except WorkerLost as lost:
            self._lose(lost)

    def digest(self) -> str:
        """`Scorer.digest`. Raise `EngineFailed` where a worker's bank differs."""
        digest = self._local.digest()

        def together(group: Group) -> None:
            announce(group, Operation.DIGEST)
            require_one_bank(group, digest)

        self._together(together)
        return digest

    def dismiss(self) -> None:
        """The run is over: the followers may go. Without this they wait for a leader that comes back."""
        if self._group is not None:
            with suppress(WorkerLost):
                announce(self._group, Operation.CLOSE)

    def close(self) -> None:
        """Leave the group and stop the engine."""
        if self._group is not None:
            self._group.close()
        self._local.close()

    def _together(self, work: Callable[[Group], T]) -> T:
        """Do a piece of work with all workers, again from its start whenever one is lost."""
        while True:
            try:
                if self._group is not None and self._someone_waits():
                    self._part(self._group)
                if self._group is None:
                    self._group = self._form()
                return work(self._group)
            except WorkerLost as lost:
                self._lose(lost)

    def _form(self) -> Group:
        """Meet, agree on the input, and bring every follower to the leader's step."""
        group = self._meet()
        try:
            require_one_input(group, self._fingerprint)
            here = np.array([self._resets, self._step], np.float64)
            found = [(int(resets), int(step)) for resets, step in group.gather(here)]
            rows = np.concatenate(self._history) if self._history else np.zeros((0, 3 + self._directions))
            missing = rows[rows[:, 0] > common_step(found)]
            _send_updates(group, missing)
            require_one_bank(group, self._local.digest())
        except BaseException:
            group.close()
            raise
        self._notify(f"{group.size} workers together at step {self._step}")
        return group

    def _part(self, group: Group) -> None:
        """Dissolve a group that works, so that another can join."""
        announce(group, Operation.MEET)
        group.close()
        self._group = None

    def _lose(self, lost: WorkerLost) -> None:
        self._notify(f"a worker is lost, meeting again: {lost}")
        if self._group is not None:
            self._group.close()
            self._group = None


def common_step(found: Sequence[tuple[int, int]]) -> int:
    """The step that every worker can start from, by how often each was reset and the step it is at, leader first. A
    follower that is ahead of the leader starts anew: it saw what a leader that died never made durable. So does one
    that missed a reset or is from another leader's time: it may stand on another path to the same step."""
    resets, leader = found[0]
    return min(step if times == resets and step <= leader else 0 for times, step in found)


def _send_updates(group: Group, rows: Floats) -> None:
    announce(group, Operation.UPDATES, *rows.shape)
    if len(rows):
        group.broadcast(rows)
