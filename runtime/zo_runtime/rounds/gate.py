"""The gate: whether a round's last version may be served. Pure: from losses of single examples to a verdict.

Candidate and served version are compared example by example, which takes the examples' own difficulty out of the
comparison. Every test has to reject its null hypothesis, so the error of letting a bad version through is at most
the significance of one of them, however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zo_runtime.config.gate import Gate
from zo_runtime.errors import InvalidData
from zo_runtime.rounds.contract import Comparison, Metric, Verdict
from zo_runtime.rounds.sign_flip import p_value
from zo_runtime.scoring.protocol import Judged

UNGATED = Verdict(accepted=True, reason="Ungated", message="there is no gate")


@dataclass(frozen=True, slots=True)
class Scores:
    """What one version made of the examples: the same examples, in the same order, as for any other version."""

    held_out: Sequence[Judged]
    regression: Sequence[Judged]
    """Empty where there is no regression set."""


def require_enough(gate: Gate, held_out: int, regression: int) -> None:
    """Raise `InvalidData` where there are too few examples to judge by, before any are learned from."""
    if held_out < gate.min_examples:
        raise InvalidData(
            f"spec.gate.minExamples: {held_out} examples are held out, the gate asks for {gate.min_examples}: give "
            f"more data, raise spec.data.heldOut or spec.evaluation.maxExamples, or lower minExamples"
        )
    if gate.regression is not None and regression < gate.min_examples:
        raise InvalidData(
            f"spec.gate.regression.source: it has {regression} examples, spec.gate.minExamples asks for "
            f"{gate.min_examples}: add some, or lower minExamples"
        )


def verdict(gate: Gate, candidate: Scores, served: Scores, seed: int, step: int) -> Verdict:
    """Judge the candidate, the bank at `step` of the run with `seed`. Every loss must be finite."""

    def compare(name: str, margin: float) -> Comparison:
        # The two sets get signs of their own, and so does every candidate.
        stream = 2 * step + (name == "regression")
        return compared(gate.metric, getattr(candidate, name), getattr(served, name), margin, seed, stream)

    held_out = compare("held_out", gate.min_gain)
    regression = None if gate.regression is None else compare("regression", -gate.regression.max_loss)
    improved = held_out.p_value <= gate.significance
    kept = regression is None or regression.p_value <= gate.significance
    said = [_held_out_sentence(held_out, improved, gate)]
    if regression is not None:
        said.append(_regression_sentence(regression, kept))
    return Verdict(
        accepted=improved and kept,
        reason="NoImprovement" if not improved else "Improved" if kept else "Regressed",
        message="; ".join(said),
        held_out=held_out,
        regression=regression,
    )


def compared(
    metric: Metric, candidate: Sequence[Judged], served: Sequence[Judged], margin: float, seed: int, stream: int
) -> Comparison:
    """Compare two versions on the same N >= 1 examples; a gain above the margin is what has to be shown."""
    ours, theirs = _values(metric, candidate), _values(metric, served)
    gains = np.array(theirs) - ours if metric == "loss" else np.array(ours) - theirs
    return Comparison(
        metric=metric,
        examples=len(ours),
        candidate=_mean(ours),
        served=_mean(theirs),
        gain=_mean(gains.tolist()),
        margin=margin,
        p_value=p_value(gains - margin, seed, stream),
    )


def _values(metric: Metric, judged: Sequence[Judged]) -> list[float]:
    if metric == "loss":
        return [loss for loss, _ in judged]
    return [float(right) for _, right in judged if right is not None]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _held_out_sentence(found: Comparison, improved: bool, gate: Gate) -> str:
    shown = f"{'' if improved else 'not '}shown to be more than {gate.min_gain:g}"
    return f"{_numbers('held-out', found)}: a gain of {found.gain:.4g}, {shown} {_probability(found)}"


def _regression_sentence(found: Comparison, kept: bool) -> str:
    shown = f"{'' if kept else 'not '}shown to be at most {-found.margin:g} worse"
    return f"{_numbers('regression', found)}: {shown} {_probability(found)}"


def _numbers(name: str, found: Comparison) -> str:
    return f"{name} {found.metric} from {found.served:.4g} to {found.candidate:.4g} on {found.examples:,} examples"


def _probability(found: Comparison) -> str:
    return f"(p = {found.p_value:.2g})"
