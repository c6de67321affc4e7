"""A follower: an engine that scores its share of whatever the leader announces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from zo_runtime.data.examples import Example
from zo_runtime.scoring.plan import step_items
from zo_runtime.scoring.protocol import PartialScorer
from zo_runtime.workers.exchange import (
    Operation,
    judge_together,
    listen,
    require_one_bank,
    require_one_input,
    score_together,
    to_updates,
)
from zo_runtime.workers.group import Group, WorkerLost


@dataclass(slots=True)
class Follower:
    """One worker beside the leader. `batch` gives the examples of a step, the same that the leader draws; `sets` are
    those to judge, in the leader's order."""

    scorer: PartialScorer
    directions: int
    batch: Callable[[int], Sequence[Example]]
    sets: Sequence[Sequence[Example]]
    fingerprint: str
    meet: Callable[[], Group]
    notify: Callable[[str], None]
    step: int = 0
    """The last update that the replica holds."""
    resets: int = 0
    """How often the leader took all replicas back to step 0."""

    def run(self) -> None:
        """Serve until the leader says that the run is over; meet again whenever the group breaks."""
        while True:
            group = self.meet()
            try:
                self._join(group)
                while (done := self._serve(group)) not in (Operation.CLOSE, Operation.MEET):
                    pass
            except WorkerLost as lost:
                self.notify(f"the group broke, meeting again: {lost}")
            else:
                if done is Operation.CLOSE:
                    return
            finally:
                group.close()

    def _join(self, group: Group) -> None:
        """The counterpart of the leader's `_form`."""
        require_one_input(group, self.fingerprint)
        resets, step = (int(value) for value in group.gather(np.array([self.resets, self.step], np.float64))[0])
        if self.resets != resets or self.step > step:
            self._reset(resets)
        self._serve(group)
        require_one_bank(group, self.scorer.digest())
        self.notify(f"worker {group.rank} of {group.size} at step {self.step}")

    def _serve(self, group: Group) -> Operation:
        """Do the next operation, and say which it was."""
        operation, a, b = listen(group)
        if operation is Operation.UPDATES:
            self._apply(group, a, b)
        elif operation is Operation.SCORE:
            score_together(group, self.scorer, step_items(self.batch(a), self.directions), a)
        elif operation is Operation.JUDGE:
            judge_together(group, self.scorer, self.sets[a])
        elif operation is Operation.RESET:
            self._reset(self.resets + 1)
        elif operation is Operation.DIGEST:
            require_one_bank(group, self.scorer.digest())
        return operation

    def _reset(self, resets: int) -> None:
        self.scorer.reset()
        self.step, self.resets = 0, resets

    def _apply(self, group: Group, count: int, width: int) -> None:
        if not count:
            return
        updates = [u for u in to_updates(group.broadcast(np.zeros((count, width)))) if u.step > self.step]
        self.scorer.apply(updates)
        self.step = updates[-1].step if updates else self.step
