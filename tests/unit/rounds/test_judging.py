"""Both sides are scored by one engine, on the same examples, and training goes on where it should."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.toy import SIZE, VOCABULARY, ToyModel, ToyScorer
from zo_runtime.config.gate import Gate
from zo_runtime.data.examples import Example
from zo_runtime.errors import Diverged
from zo_runtime.rounds.judging import Exam, judge_after
from zo_runtime.scoring.protocol import Judged
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.method import Method, Update

METHOD = Method(seed=4, interval=3, directions=1, epsilon=2**-10)
LAYOUT = ToyModel().layout(2, 2)
CANDIDATES = ((VOCABULARY[" no"],), (VOCABULARY[" yes"],))


def examples(count: int, start: int = 0) -> list[Example]:
    return [Example((i % SIZE, (7 * i + 3) % SIZE), CANDIDATES, i % 2) for i in range(start, start + count)]


def exam(regression: int = 0) -> Exam:
    fields = {"minExamples": 1}
    if regression:
        fields["regression"] = {"source": {"uri": "x"}, "maxLoss": 0.5}
    return Exam(Gate.model_validate(fields), examples(40), examples(regression, 100), seed=4)


def updates(first: int, last: int, size: float = 0.25) -> list[Update]:
    return [Update(step, 0.1, (size * (-1) ** step,)) for step in range(first, last + 1)]


class Watched(ToyScorer):
    """Knows at which steps it judged how many examples, and how often it was reset."""

    def __init__(self) -> None:
        super().__init__(LAYOUT, METHOD)
        self.judged: list[tuple[int, int]] = []
        self.resets = 0

    def judge(self, examples: Sequence[Example]) -> list[Judged]:
        self.judged.append((self.bank.step, len(examples)))
        return super().judge(examples)

    def reset(self) -> None:
        self.resets += 1
        super().reset()


def bank_after(path: Sequence[Update]) -> Bank:
    bank = Bank(LAYOUT, METHOD)
    bank.apply(path)
    return bank


@given(st.integers(0, 8), st.integers(0, 8))
@settings(max_examples=20, deadline=None)
def test_a_round_that_continues_from_what_is_served_replays_nothing_twice(served: int, more: int) -> None:
    scorer, path = Watched(), updates(1, served + more)
    judge_after(exam(), scorer, path[:served], path)
    assert scorer.judged == [(served, 40)]
    assert scorer.resets == 0
    assert scorer.digest() == bank_after(path).digest()


@pytest.mark.parametrize("present", [[], updates(1, 2), updates(1, 6, size=-0.5)])
def test_a_round_that_starts_elsewhere_gets_there_all_the_same(present: list[Update]) -> None:
    scorer = Watched()
    judge_after(exam(), scorer, updates(1, 4), present)
    assert scorer.judged == [(4, 40)]
    assert scorer.resets == 1
    assert scorer.digest() == bank_after(present).digest()


def test_the_verdict_compares_the_two_versions_on_both_sets() -> None:
    scorer, path = Watched(), updates(1, 4)
    judge = judge_after(exam(regression=25), scorer, path, path)
    served = {count: ToyScorer.judge(scorer, examples(count, start)) for count, start in ((40, 0), (25, 100))}
    more = updates(5, 9, size=-1.0)
    scorer.apply(more)
    found = judge.verdict(scorer, scorer.judge(exam().held_out), 9)
    assert scorer.judged == [(4, 40), (4, 25), (9, 40), (9, 25)]
    candidate = {count: ToyScorer.judge(scorer, examples(count, start)) for count, start in ((40, 0), (25, 100))}
    for comparison, count in ((found.held_out, 40), (found.regression, 25)):
        assert comparison is not None
        assert comparison.examples == count
        assert comparison.served == pytest.approx(sum(loss for loss, _ in served[count]) / count)
        assert comparison.candidate == pytest.approx(sum(loss for loss, _ in candidate[count]) / count)


def test_a_version_that_changes_nothing_is_no_improvement() -> None:
    scorer = Watched()
    judge = judge_after(exam(), scorer, [], [])
    found = judge.verdict(scorer, scorer.judge(exam().held_out), 0)
    assert (found.accepted, found.reason) == (False, "NoImprovement")
    assert found.held_out is not None
    assert found.held_out.p_value == 1


class NotFinite(Watched):
    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def judge(self, examples: Sequence[Example]) -> list[Judged]:
        found = super().judge(examples)
        return [(math.inf, False), *found[1:]] if len(self.judged) == self._at else found


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        (1, "the served version has a loss that is not finite on example 1 of the held-out data"),
        (2, "the served version has a loss that is not finite on example 1 of the regression set"),
        (4, "the candidate has a loss that is not finite on example 1 of the regression set"),
    ],
)
def test_a_loss_that_is_not_finite_is_no_comparison(at: int, sentence: str) -> None:
    scorer = NotFinite(at)
    with pytest.raises(Diverged, match=sentence):
        judge_after(exam(regression=25), scorer, [], []).verdict(scorer, scorer.judge(exam().held_out), 0)
