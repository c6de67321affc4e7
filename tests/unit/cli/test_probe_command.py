"""`zo probe`: says what is fresh on the last line and in the termination message, and loads nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fakes.toy import ToyModel
from fakes.toy_rounds import deliver, log_of, order, source, write_round
from zo_runtime.cli import TERMINATION_LOG, main
from zo_runtime.config.load import load_document
from zo_runtime.job import Job
from zo_runtime.rounds.contract import TERMINATION_MESSAGE_LIMIT, Fresh, ProbeResult, VersionReference
from zo_runtime.units import data_size


def probe(folder: Path, monkeypatch: pytest.MonkeyPatch, document: dict[str, Any] | None = None) -> int:
    """The exit code of the command."""
    path = write_round(folder, document or source(folder), None)
    monkeypatch.setattr(sys, "argv", ["zo", "probe", str(path)])
    monkeypatch.setenv(TERMINATION_LOG, str(folder / "termination"))
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def left(folder: Path) -> ProbeResult:
    return ProbeResult.model_validate_json((folder / "termination").read_text())


def train(folder: Path, number: int, base: int | None = None) -> None:
    document, _ = load_document(write_round(folder, source(folder), order(folder, number, base)))
    Job(document, ToyModel(), lambda: False).run()


def test_it_says_what_is_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source(tmp_path)
    assert probe(tmp_path, monkeypatch) == 0
    assert left(tmp_path).fresh == Fresh()
    assert left(tmp_path).message == "nothing is fresh"
    first = deliver(tmp_path, "a.jsonl", 120, seed=1)
    with first.open("a") as out:
        out.write('{"text": "good film"}\nrubbish\n{"text": "good film", "label": 7}\n')
    size = first.stat().st_size
    capsys.readouterr()
    assert probe(tmp_path, monkeypatch) == 0
    assert left(tmp_path).message == (
        f"120 fresh records in 1 objects, {data_size(size)}; 3 more cannot be used (missing field 1, bad JSON 1, "
        "unknown label 1)"
    )
    line = capsys.readouterr().out.splitlines()[-1]
    assert ProbeResult.model_validate_json(line) == left(tmp_path)
    fresh = json.loads(line)["fresh"]
    assert (fresh["objects"], fresh["records"], fresh["bytes"], fresh["quarantined"]) == (1, 120, size, 3)
    assert "oldest" in fresh


def test_what_was_learned_from_is_not_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(tmp_path, "a.jsonl", 120, seed=1)
    deliver(tmp_path, "b.jsonl", 80, seed=2)
    train(tmp_path, 1)
    assert probe(tmp_path, monkeypatch) == 0
    assert left(tmp_path).fresh == Fresh()
    deliver(tmp_path, "a.jsonl", 10, seed=3, mode="a")
    deliver(tmp_path, "A-late.jsonl", 5, seed=4)
    deliver(tmp_path, "b.jsonl", 80, seed=5)
    probe(tmp_path, monkeypatch)
    found = left(tmp_path).fresh
    changed = str(tmp_path / "incoming" / "b.jsonl")
    assert (found.objects, found.records, found.changed, found.changed_count) == (2, 15, (changed,), 1)
    assert "1 changed since they were learned from and are not learned again: " + changed in left(tmp_path).message
    Path(changed).unlink()
    probe(tmp_path, monkeypatch)
    assert left(tmp_path).fresh.gone_count == 1
    assert left(tmp_path).message.endswith("1 that were learned from are gone")


def test_it_says_how_far_the_log_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(tmp_path, "a.jsonl", 120, seed=1)
    probe(tmp_path, monkeypatch)
    assert (left(tmp_path).round, left(tmp_path).accepted) == (0, None)
    train(tmp_path, 4)
    probe(tmp_path, monkeypatch)
    newest = log_of(tmp_path).history().links[-1]
    assert left(tmp_path).round == 4
    assert left(tmp_path).accepted == VersionReference(version=newest.version.number, sha256=newest.sha256)


def test_a_log_without_rounds_has_versions_to_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(tmp_path, "a.jsonl", 120, seed=1)
    document, _ = load_document(write_round(tmp_path, source(tmp_path), None))
    Job(document, ToyModel(), lambda: False).run()
    probe(tmp_path, monkeypatch)
    newest = log_of(tmp_path).history().links[-1]
    assert left(tmp_path).round == 0
    assert left(tmp_path).accepted == VersionReference(version=newest.version.number, sha256=newest.sha256)


def test_an_error_is_one_line_and_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = source(tmp_path)
    document["spec"]["data"]["train"]["uri"] = str(tmp_path / "nowhere")
    assert probe(tmp_path, monkeypatch, document) == 3
    assert (left(tmp_path).ok, left(tmp_path).reason, left(tmp_path).exit_code) == (False, "InvalidData", 3)
    assert "is no file, folder or pattern" in left(tmp_path).message
    assert capsys.readouterr().err.count("\n") == 1


def test_the_termination_message_is_never_longer_than_kubelet_keeps() -> None:
    names = tuple(f"s3://bucket/{'ü' * 900}/{number}" for number in range(10))
    fresh = Fresh(objects=3, records=4, changed=names, changed_count=12)
    text = ProbeResult(ok=True, reason="Completed", message="; ".join(names), fresh=fresh).to_termination_message()
    assert len(text.encode()) <= TERMINATION_MESSAGE_LIMIT
    kept = ProbeResult.model_validate_json(text).fresh
    assert (kept.records, kept.changed_count) == (4, 12)
    assert 0 < len(kept.changed) < 10


def test_it_needs_no_engine_and_no_tokenizer(tmp_path: Path) -> None:
    deliver(tmp_path, "a.jsonl", 12, seed=1)
    path = write_round(tmp_path, source(tmp_path), None)
    program = (
        "import sys; from zo_runtime.cli import cli\n"
        f"cli.main(['probe', {str(path)!r}], standalone_mode=False)\n"
        "print([m for m in ('torch', 'vllm', 'transformers', 'boto3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
