"""From losses of single examples to a verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zo_runtime.config.gate import Gate
from zo_runtime.errors import InvalidData
from zo_runtime.rounds.contract import Verdict
from zo_runtime.rounds.gate import Scores, require_enough, verdict
from zo_runtime.scoring.protocol import Judged

N = 200


def gate(regression: float | None = None, **fields: Any) -> Gate:
    if regression is not None:
        fields["regression"] = {"source": {"uri": "golden.jsonl"}, "maxLoss": regression}
    return Gate.model_validate(fields)


def losses(mean: float, seed: int = 0, count: int = N) -> list[Judged]:
    """Losses that differ much from example to example, and a little (by `seed`) from version to version."""
    difficulty = np.random.default_rng(99).exponential(1.0, count)
    noise = np.random.default_rng(seed).normal(0, 0.05, count)
    return [(float(loss), bool(loss < 1)) for loss in difficulty + noise + mean]


def judge(rules: Gate, candidate: Scores, served: Scores) -> Verdict:
    return verdict(rules, candidate, served, seed=3, step=50)


def test_a_small_gain_on_hard_and_easy_examples_is_seen_pair_by_pair() -> None:
    found = judge(gate(), Scores(losses(0.98, 1), []), Scores(losses(1.0, 2), []))
    assert found.accepted
    assert found.reason == "Improved"
    assert found.held_out is not None
    assert found.held_out.gain == pytest.approx(0.02, abs=0.015)
    assert found.held_out.gain == pytest.approx(found.held_out.served - found.held_out.candidate)
    assert found.held_out.p_value < 0.01
    assert found.regression is None
    assert found.message == (
        f"held-out loss from {found.held_out.served:.4g} to {found.held_out.candidate:.4g} on 200 examples: a gain "
        f"of {found.held_out.gain:.4g}, shown to be more than 0 (p = {found.held_out.p_value:.2g})"
    )


def test_nothing_gained_is_rejected() -> None:
    found = judge(gate(), Scores(losses(1.0, 1), []), Scores(losses(1.0, 2), []))
    assert not found.accepted
    assert found.reason == "NoImprovement"
    assert ", not shown to be more than 0 (p = " in found.message


def test_a_gain_below_the_margin_is_rejected() -> None:
    candidate, served = Scores(losses(0.9, 1), []), Scores(losses(1.0, 2), [])
    assert judge(gate(minGain=0.05), candidate, served).accepted
    assert judge(gate(minGain=0.15), candidate, served).reason == "NoImprovement"


@pytest.mark.parametrize(
    ("change", "reason"), [(0.0, "Improved"), (0.05, "Improved"), (0.1, "Regressed"), (0.5, "Regressed")]
)
def test_a_loss_on_the_regression_set_is_bounded(change: float, reason: str) -> None:
    candidate = Scores(losses(0.5, 1), losses(1 + change, 3))
    served = Scores(losses(1.0, 2), losses(1.0, 4))
    found = judge(gate(regression=0.1), candidate, served)
    assert found.reason == reason
    assert found.accepted == (reason == "Improved")
    assert found.regression is not None
    assert found.regression.margin == -0.1
    assert found.regression.gain == pytest.approx(-change, abs=0.015)
    assert ("at most 0.1 worse" in found.message) == (found.regression is not None)


def test_unchanged_versions_do_not_regress() -> None:
    same = losses(1.0, 1)
    found = judge(gate(regression=0.01), Scores(losses(0.5, 1), same), Scores(losses(1.0, 2), same))
    assert found.accepted
    assert found.regression is not None
    assert found.regression.gain == 0


def test_no_improvement_is_told_before_regression() -> None:
    worse = Scores(losses(2.0, 1), losses(2.0, 3))
    found = judge(gate(regression=0.1), worse, Scores(losses(1.0, 2), losses(1.0, 4)))
    assert found.reason == "NoImprovement"
    assert found.regression is not None


def test_accuracy_counts_right_answers() -> None:
    served: list[Judged] = [(1.0, i % 2 == 0) for i in range(N)]
    candidate: list[Judged] = [(9.0, i % 2 == 0 or i < 40) for i in range(N)]
    found = judge(gate(metric="accuracy"), Scores(candidate, []), Scores(served, []))
    assert found.accepted
    assert found.held_out is not None
    assert (found.held_out.served, found.held_out.candidate) == (0.5, 0.6)
    assert found.held_out.gain == pytest.approx(0.1)
    assert judge(gate(metric="accuracy", minGain=0.09), Scores(candidate, []), Scores(served, [])).reason == (
        "NoImprovement"
    )


@given(st.integers(0, 50), st.floats(0.8, 1.2), st.floats(0, 0.1), st.sampled_from([None, 0.05]))
@settings(max_examples=30, deadline=None)
def test_the_same_scores_give_the_same_verdict_and_it_survives_the_wire(
    seed: int, mean: float, margin: float, regression: float | None
) -> None:
    rules = gate(minGain=margin, regression=regression)
    candidate, served = Scores(losses(mean, seed), losses(mean, seed + 1)), Scores(losses(1, 90), losses(1, 91))
    first = judge(rules, candidate, served)
    assert judge(rules, candidate, served) == first
    assert Verdict.model_validate_json(first.model_dump_json(by_alias=True)) == first
    assert first.accepted == (first.reason == "Improved")


def test_the_two_sets_and_the_candidates_have_signs_of_their_own() -> None:
    candidate, served = losses(0.993, 1), losses(1.0, 2)
    rules = gate(regression=1e-9)
    p_values = set()
    for step in (50, 51):
        found = verdict(rules, Scores(candidate, candidate), Scores(served, served), 3, step)
        assert found.held_out is not None
        assert found.regression is not None
        p_values |= {found.held_out.p_value, found.regression.p_value}
    assert len(p_values) == 4


@pytest.mark.parametrize(
    ("held_out", "regression", "sentence"),
    [
        (99, 100, "spec.gate.minExamples: 99 examples are held out, the gate asks for 100: give more data"),
        (100, 99, "spec.gate.regression.source: it has 99 examples, spec.gate.minExamples asks for 100"),
    ],
)
def test_too_few_examples_are_told_before_anything_is_learned(held_out: int, regression: int, sentence: str) -> None:
    with pytest.raises(InvalidData, match=sentence):
        require_enough(gate(regression=0.1), held_out, regression)
    require_enough(gate(), 100, 0)
    require_enough(gate(regression=0.1), 100, 100)
