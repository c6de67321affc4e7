"""What the training loop asks of an engine: apply updates, score a batch, judge examples.

Arguments and results are token ids, step numbers and scalars only, so that an implementation may live in another
process or on another machine: nothing here assumes shared memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zo_runtime.data.examples import Example
from zo_runtime.zo.method import Update


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean losses of a batch: `plus[j]` and `minus[j]` at +eps and -eps along direction j; `tokens` were run."""

    plus: tuple[float, ...]
    minus: tuple[float, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Mean held-out loss at the bank itself; `accuracy` (0 to 1) where examples have several candidates."""

    loss: float
    accuracy: float | None
    examples: int


@dataclass(frozen=True, slots=True)
class Part:
    """Losses of a part of a step: (at +eps, at -eps) of each item, in the items' order; `tokens` were run."""

    pairs: list[tuple[float, float]]
    tokens: int


Item = tuple[int, Example]
"""A direction j, and an example to score at both signs along it: the smallest piece of a step."""

Judged = tuple[float, bool | None]
"""Loss of one example, and whether its true candidate scored best (None where there is nothing to choose)."""


class Scorer(Protocol):
    """An engine with a replica of the bank."""

    def apply(self, updates: Sequence[Update]) -> None:
        """Bring the replica forward; the first update must be the one after the last applied."""

    def score(self, examples: Sequence[Example], step: int) -> Losses:
        """Score the batch around the replica along the directions of step `step`, which is the next one."""

    def judge(self, examples: Sequence[Example]) -> list[Judged]:
        """Score examples at the replica itself."""

    def reset(self) -> None:
        """Take the replica back to step 0."""

    def digest(self) -> str:
        """Digest of the replica, `Bank.digest`."""

    def close(self) -> None:
        """Release the engine."""


class PartialScorer(Scorer, Protocol):
    """A scorer that can do a part of a step, so that several can share one."""

    def score_items(self, items: Sequence[Item], step: int) -> Part:
        """Score items of step `step`, ordered by direction. A loss must not depend on what else is scored."""
