"""The gate in rounds of the toy model, and in a run without rounds: its verdicts, and what a restart does to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fakes.toy import ToyModel, ToyScorer
from fakes.toy_manifest import manifest, write_manifest, write_messages
from fakes.toy_rounds import deliver, log_of, order, source, write_round
from zo_runtime.config.load import load_document
from zo_runtime.data.examples import Example
from zo_runtime.deltalog.verify import verify
from zo_runtime.errors import Interrupted, InvalidData
from zo_runtime.job import Job
from zo_runtime.progress import Result
from zo_runtime.scoring.protocol import Judged
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method

GATE = {"minExamples": 30}


class Watched(ToyScorer):
    """Writes down at which step it judged how many examples."""

    seen: list[tuple[int, int]]

    def judge(self, examples: Sequence[Example]) -> list[Judged]:
        self.seen.append((self.bank.step, len(examples)))
        return super().judge(examples)


class WatchedModel(ToyModel):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def accelerators(self) -> int:
        return 2

    def start(self, layout: BankLayout, method: Method) -> ToyScorer:
        scorer = Watched(layout, method)
        scorer.seen = self.seen
        return scorer


def go(path: Path, stop_after: float = math.inf, base: ToyModel | None = None) -> Result:
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > stop_after

    return Job(load_document(path)[0], base or ToyModel(), stop).run()


def gated(folder: Path, **gate: Any) -> dict[str, Any]:
    document = source(folder)
    document["spec"]["gate"] = GATE | gate
    return document


def two_rounds(folder: Path, rules: dict[str, Any], base: ToyModel | None = None) -> tuple[Result, Result]:
    """The second one continues from what the first one made, and is judged against it by other rules."""
    deliver(folder, "a.jsonl", 400, seed=1)
    first = go(write_round(folder, gated(folder), order(folder, 1)))
    deliver(folder, "b.jsonl", 400, seed=2)
    ordered = order(folder, 2, first.version, first.version)
    return first, go(write_round(folder, gated(folder, **rules), ordered), base=base)


def test_a_round_that_learns_is_accepted_and_the_log_says_why(tmp_path: Path) -> None:
    first, _ = two_rounds(tmp_path, {})
    assert (first.reason, first.exit_code, first.round) == ("Completed", 0, 1)
    assert first.verdict is not None
    assert (first.verdict.accepted, first.verdict.reason) == (True, "Improved")
    held_out = first.verdict.held_out
    assert held_out is not None
    assert held_out.served == pytest.approx(first.loss_before)
    assert held_out.candidate == pytest.approx(first.loss_after)
    versions = log_of(tmp_path).versions()
    assert [v.verdict is not None for v in versions] == [False, False, True] * 2
    assert versions[2].verdict == first.verdict
    assert verify(log_of(tmp_path).store).problems == []


def test_a_round_that_gains_too_little_is_rejected_and_is_no_failure(tmp_path: Path) -> None:
    first, second = two_rounds(tmp_path, {"minGain": 5.0})
    assert (second.ok, second.reason, second.exit_code) == (True, "Rejected", 0)
    assert second.verdict is not None
    assert second.verdict.reason == "NoImprovement"
    assert second.version is not None
    # The third round continues from the first, and its data is what no round has learned.
    deliver(tmp_path, "c.jsonl", 400, seed=3)
    ordered = order(tmp_path, 3, first.version, first.version)
    model = WatchedModel()
    third = go(write_round(tmp_path, gated(tmp_path), ordered), base=model)
    # What is served, where the round starts, half-way and the end; the served bank is replayed once.
    assert [step for step, _ in model.seen] == [20, 20, 50, 60]
    assert third.verdict is not None
    assert third.verdict.held_out is not None
    assert third.verdict.held_out.served == pytest.approx(third.loss_before)


def test_a_round_that_starts_anew_is_compared_with_what_is_served(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 400, seed=1)
    first = go(write_round(tmp_path, gated(tmp_path), order(tmp_path, 1)))
    deliver(tmp_path, "b.jsonl", 400, seed=2)
    model = WatchedModel()
    second = go(write_round(tmp_path, gated(tmp_path), order(tmp_path, 2, None, first.version)), base=model)
    assert [step for step, _ in model.seen] == [20, 0, 30, 40]
    assert second.verdict is not None
    assert second.verdict.held_out is not None
    assert second.loss_before == pytest.approx(math.log(2)), "the base model"
    assert second.verdict.held_out.served < 0.6, "the served version"


def test_the_regression_set_is_judged_twice_and_can_reject(tmp_path: Path) -> None:
    write_messages(tmp_path / "golden.jsonl", 50)
    rules = {"source": {"uri": str(tmp_path / "golden.jsonl")}, "maxLoss": 1e-6}
    model = WatchedModel()
    _, second = two_rounds(tmp_path, {"regression": rules}, model)
    assert [seen for seen in model.seen if seen[1] == 50] == [(20, 50), (40, 50)]
    assert second.verdict is not None
    assert second.verdict.regression is not None
    assert second.verdict.regression.examples == 50
    rules["maxLoss"] = 50.0
    (tmp_path / "again").mkdir()
    _, kept = two_rounds(tmp_path / "again", {"regression": rules})
    assert kept.verdict is not None
    assert kept.verdict.regression is not None
    assert kept.verdict.regression.p_value <= 0.05


@pytest.mark.parametrize("after", [0, 1, 7, 12, 19])
def test_a_round_that_was_stopped_gets_the_same_verdict(tmp_path: Path, after: int) -> None:
    results = []
    for name, stop_after in (("whole", math.inf), ("parts", after)):
        folder = tmp_path / name
        folder.mkdir()
        deliver(folder, "a.jsonl", 400, seed=1)
        path = write_round(folder, gated(folder), order(folder, 1))
        if stop_after < math.inf:
            with pytest.raises(Interrupted):
                go(path, stop_after)
        results.append(go(path))
    assert results[0].verdict == results[1].verdict
    assert results[0].digest == results[1].digest


def test_a_round_that_is_over_is_neither_scored_nor_judged_again(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 400, seed=1)
    path = write_round(tmp_path, gated(tmp_path), order(tmp_path, 1))
    first, model = go(path), WatchedModel()
    # A gate that is changed afterwards does not change what was said.
    path = write_round(tmp_path, gated(tmp_path, minGain=9.0), order(tmp_path, 1))
    again = go(path, base=model)
    assert model.seen == []
    assert again.verdict == first.verdict
    assert again.version_sha256 == first.version_sha256


def test_early_stopping_ends_in_a_verdict_too(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 400, seed=1)
    document = gated(tmp_path, minGain=0.001)
    document["spec"]["optimizer"]["learningRate"] = 1e-12
    document["spec"]["evaluation"] = {"every": 4, "earlyStopping": {"patience": 2, "minDelta": 0.001}}
    result = go(write_round(tmp_path, document, order(tmp_path, 1)))
    assert (result.reason, result.steps) == ("Rejected", 8)
    assert [v.verdict is not None for v in log_of(tmp_path).versions()] == [False, False, True]


def test_too_few_examples_end_a_round_before_it_begins_and_its_data_stays_fresh(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 400, seed=1)
    with pytest.raises(InvalidData, match=r"spec\.gate\.minExamples: 4\d examples are held out"):
        go(write_round(tmp_path, gated(tmp_path, minExamples=100), order(tmp_path, 1)))
    assert log_of(tmp_path).versions() == ()
    assert go(write_round(tmp_path, gated(tmp_path), order(tmp_path, 2))).verdict is not None


def test_a_round_keeps_an_account_of_its_time_and_its_accelerators(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 400, seed=1)
    result = go(write_round(tmp_path, gated(tmp_path), order(tmp_path, 1)), base=WatchedModel())
    costs = [v.cost for v in log_of(tmp_path).versions()]
    assert all(cost is not None and cost.accelerators == 2 for cost in costs)
    assert 0 < sum(cost.seconds for cost in costs if cost is not None) <= result.seconds + 0.01


def test_a_run_without_rounds_is_judged_against_the_base_model(tmp_path: Path) -> None:
    document = manifest(tmp_path)
    document["spec"]["gate"] = GATE
    result = go(write_manifest(tmp_path, document))
    assert result.verdict is not None
    assert (result.verdict.reason, result.round) == ("Improved", None)
    versions = log_of(tmp_path).versions()
    assert [v.verdict is not None for v in versions] == [False, False, True]
    assert all(v.round is None and v.cost is None for v in versions)
    assert verify(log_of(tmp_path).store).problems == []


def test_a_gate_that_comes_after_the_end_of_a_run_judges_it(tmp_path: Path) -> None:
    document = manifest(tmp_path)
    first = go(write_manifest(tmp_path, document))
    assert first.verdict is None
    document["spec"]["gate"] = GATE
    judged = go(write_manifest(tmp_path, document))
    assert judged.verdict is not None
    assert judged.version == (first.version or 0) + 1
    assert judged.digest == first.digest
    assert go(write_manifest(tmp_path, document)).version == judged.version
