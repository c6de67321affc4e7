"""Scores both sides of the gate with the engine that trains.

The served version is scored first, on the engine's way from the base model to where training goes on: a round that
continues from it costs no replay more. The candidate is scored when training is over. Both sides take the same
examples in the same order through the same engine, so what differs is the version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zo_runtime.config.gate import Gate
from zo_runtime.data.examples import Example
from zo_runtime.errors import Diverged
from zo_runtime.rounds.contract import Verdict
from zo_runtime.rounds.gate import Scores, verdict
from zo_runtime.scoring.protocol import Judged, Scorer
from zo_runtime.zo.method import Update


@dataclass(frozen=True, slots=True)
class Exam:
    """The examples that the gate judges by."""

    gate: Gate
    held_out: Sequence[Example]
    regression: Sequence[Example]
    """Empty where there is no regression set."""
    seed: int
    """Of the run: it names the signs that the tests draw."""

    def describe(self) -> str:
        """How many examples there are."""
        fixed = f" and {len(self.regression)} of the regression set" if self.regression else ""
        return f"{len(self.held_out)} held-out examples{fixed}"


class Judge:
    """The gate of one round: knows how the served version did, waits for the candidate."""

    def __init__(self, exam: Exam, served: Scores):
        """Use `judge_after`."""
        self._exam, self._served = exam, served

    def verdict(self, scorer: Scorer, held_out: Sequence[Judged], step: int) -> Verdict:
        """Judge the candidate, which the scorer's replica holds at `step`; `held_out` are its scores on that set.

        Raises:
            Diverged: a loss of the candidate on the regression set is not finite.
        """
        candidate = Scores(held_out, _regression_scores(self._exam, scorer))
        _require_finite(candidate, "the candidate")
        return verdict(self._exam.gate, candidate, self._served, self._exam.seed, step)


def judge_after(exam: Exam, scorer: Scorer, served: Sequence[Update], present: Sequence[Update]) -> Judge:
    """Score the served version, then bring the scorer to where training goes on.

    `served` and `present` are the updates that lead to either, from step 1; the scorer's replica is at step 0.

    Raises:
        Diverged: a loss of the served version is not finite.
    """
    scorer.apply(served)
    scores = Scores(scorer.judge(exam.held_out), _regression_scores(exam, scorer))
    _require_finite(scores, "the served version")
    if list(present[: len(served)]) == list(served):
        scorer.apply(present[len(served) :])
    else:
        scorer.reset()
        scorer.apply(present)
    return Judge(exam, scores)


def _regression_scores(exam: Exam, scorer: Scorer) -> Sequence[Judged]:
    return scorer.judge(exam.regression) if exam.regression else []


def _require_finite(scores: Scores, who: str) -> None:
    for name, judged in (("held-out data", scores.held_out), ("regression set", scores.regression)):
        for number, (loss, _) in enumerate(judged, 1):
            if not math.isfinite(loss):
                raise Diverged(
                    f"{who} has a loss that is not finite on example {number} of the {name}: check the data"
                )
