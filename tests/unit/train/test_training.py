"""The training loop on the toy model: it learns, resumes, stops and refuses as it should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fakes.toy import ToyModel, ToyScorer
from fakes.toy_manifest import manifest, write_manifest
from zo_runtime.config.load import load_document
from zo_runtime.config.storage import S3
from zo_runtime.data.examples import Example
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.errors import Diverged, EngineFailed, Interrupted, LogMismatch
from zo_runtime.job import Job
from zo_runtime.progress import Result
from zo_runtime.scoring.protocol import Judged, Losses
from zo_runtime.storage.open import open_store
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method, Update


def run(folder: Path, document: dict[str, Any], base: Any = None, stop_after: float = math.inf) -> Result:
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > stop_after

    parsed, _ = load_document(write_manifest(folder, document))
    return Job(parsed, base or ToyModel(), stop).run()


def test_it_learns_and_says_so(tmp_path: Path) -> None:
    result = run(tmp_path, manifest(tmp_path, steps=150))
    assert result.ok
    assert result.reason == "Completed"
    assert result.steps == 150
    assert result.accuracy_before is not None
    assert result.accuracy_after is not None
    assert result.accuracy_after >= result.accuracy_before + 0.2
    assert result.loss_after is not None
    assert result.loss_before is not None
    assert result.loss_after < result.loss_before


@pytest.mark.parametrize(
    "optimizer",
    [{}, {"directions": 3, "momentum": {"beta": 0.9}, "schedule": "cosine", "weightDecay": 0.1, "clip": 1.0}],
)
def test_a_second_run_of_the_manifest_has_the_same_digest(tmp_path: Path, optimizer: dict[str, Any]) -> None:
    digests = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        digests.add(run(tmp_path / name, manifest(tmp_path / name, **optimizer)).digest)
    assert len(digests) == 1


@pytest.mark.parametrize("after", [0, 1, 7, 20, 33])
def test_a_stopped_run_goes_on_to_the_same_digest(tmp_path: Path, after: int) -> None:
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = run(tmp_path / "whole", manifest(tmp_path / "whole"))
    parts = manifest(tmp_path / "parts")
    with pytest.raises(Interrupted, match=f"stopped after step {after};"):
        run(tmp_path / "parts", parts, stop_after=after)
    resumed = run(tmp_path / "parts", parts)
    assert resumed.digest == whole.digest
    assert resumed.accuracy_before == whole.accuracy_before
    assert resumed.accuracy_after == whole.accuracy_after


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    document = manifest(tmp_path)
    first = run(tmp_path, document)
    again = run(tmp_path, document, base=_Model(_NeverScores))
    assert again.digest == first.digest
    assert again.steps == first.steps


def test_another_optimizer_or_model_needs_another_log(tmp_path: Path) -> None:
    run(tmp_path, manifest(tmp_path))
    with pytest.raises(LogMismatch, match="learningRate"):
        run(tmp_path, manifest(tmp_path, learningRate=0.2))
    with pytest.raises(LogMismatch, match="model"):
        run(tmp_path, manifest(tmp_path), base=ToyModel(digest="8" * 64))


def test_a_loss_that_is_not_finite_stops_the_run_with_the_last_good_version(tmp_path: Path) -> None:
    document = manifest(tmp_path)
    with pytest.raises(Diverged, match="step 31: the loss is not finite"):
        run(tmp_path, document, base=_Model(_NanAtStep31))
    log = LogReader(open_store(document["spec"]["storage"]["uri"], S3()))
    assert [v.last_step for v in log.versions()] == [0, 20]
    assert log.head().step == 30


def test_a_held_out_loss_that_runs_away_stops_the_run(tmp_path: Path) -> None:
    document = manifest(tmp_path, learningRate=1e6)
    with pytest.raises(Diverged, match="passed its bound"):
        run(tmp_path, document)
    log = LogReader(open_store(document["spec"]["storage"]["uri"], S3()))
    assert [v.last_step for v in log.versions()] == [0]


def test_early_stopping_counts_evaluations_without_improvement(tmp_path: Path) -> None:
    document = manifest(tmp_path, steps=400, learningRate=1e-12)
    document["spec"]["evaluation"] = {"every": 10, "earlyStopping": {"patience": 3, "minDelta": 0.001}}
    result = run(tmp_path, document)
    assert result.reason == "EarlyStopped"
    assert result.steps == 30
    assert run(tmp_path, document).steps == 30


def test_an_engine_that_computes_another_bank_is_found_at_the_first_flush(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="step 5: the engine's bank"):
        run(tmp_path, manifest(tmp_path), base=_Model(_ForgetsAnUpdate))


class _Model(ToyModel):
    def __init__(self, scorer: type[ToyScorer]):
        super().__init__()
        self._scorer = scorer

    def start(self, layout: BankLayout, method: Method) -> ToyScorer:
        return self._scorer(layout, method)


class _NeverScores(ToyScorer):
    def score(self, examples: Sequence[Example], step: int) -> Losses:
        raise AssertionError("scored a step of a finished run")

    def judge(self, examples: Sequence[Example]) -> list[Judged]:
        raise AssertionError("evaluated a finished run")


class _NanAtStep31(ToyScorer):
    def score(self, examples: Sequence[Example], step: int) -> Losses:
        losses = super().score(examples, step)
        return Losses((math.nan,), losses.minus, losses.tokens) if step == 31 else losses


class _ForgetsAnUpdate(ToyScorer):
    def apply(self, updates: Sequence[Update]) -> None:
        changed = [Update(u.step, u.learning_rate, (0.0,)) if u.step == 2 else u for u in updates]
        super().apply(changed)
