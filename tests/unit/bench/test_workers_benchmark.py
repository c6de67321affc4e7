"""The benchmark of real workers: what it says of its rows, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.workers import document, main, summary
from zo_runtime.config.document import Document


def test_the_speed_is_over_the_first_row_and_one_other_digest_is_told() -> None:
    rows = [{"workers": 1, "step_seconds": 1.0, "digest": "a"}, {"workers": 2, "step_seconds": 0.5, "digest": "a"}]
    assert summary(rows) == {"same_digest": True, "speedup": {"1": 1.0, "2": 2.0}}
    assert not summary([*rows, {"workers": 3, "step_seconds": 0.4, "digest": "b"}])["same_digest"]


def test_the_manifest_is_one_that_zo_run_takes(tmp_path: Path) -> None:
    made = Document.model_validate(document(tmp_path, tmp_path / "data.jsonl", tmp_path / "log", 30, 16))
    assert made.spec.optimizer.steps == 30


def test_more_workers_than_cores_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{}")
    many = len(os.sched_getaffinity(0)) + 1
    with pytest.raises(SystemExit):
        main(["--model", str(tmp_path), "--workers", "1", str(many)])
    assert f"--workers {many}: this machine has {many - 1} cores" in capsys.readouterr().err
