"""kill -9 at random moments: the resumed run ends as one that was never disturbed."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from fakes.toy_manifest import manifest, write_manifest
from zo_runtime.config.storage import S3
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.storage.open import open_store

# `zo run` with the toy model in the place of vLLM.
PROGRAM = """
import sys
from fakes.toy import ToyModel
from zo_runtime.config.load import load_document
from zo_runtime.job import Job
document, _ = load_document(sys.argv[1])
print("ready", flush=True)
Job(document, ToyModel(step_seconds=0.01), lambda: False).run()
"""
KILLS = 20


def start(path: Path) -> subprocess.Popen[str]:
    tests = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        cwd=tests,
        env={"PYTHONPATH": str(tests), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    rng = random.Random(11)
    steps, whole, killed = 600, tmp_path / "whole", tmp_path / "killed"
    documents = {}
    for folder in (whole, killed):
        folder.mkdir()
        documents[folder] = manifest(folder, steps=steps, momentum={"beta": 0.5})
        documents[folder]["spec"]["storage"]["flush"] = {"everySteps": 7}
        documents[folder]["spec"]["evaluation"] = {"every": 60}
        write_manifest(folder, documents[folder])
    undisturbed = start(whole / "manifest.yaml")
    kills = 0
    while True:
        process = start(killed / "manifest.yaml")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            # Before the loop, in it, at a flush, at a publish: anywhere.
            _, error = process.communicate(timeout=rng.uniform(0.0, 0.9) if kills < KILLS else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, error
        break
    _, error = undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0, error
    assert kills == KILLS
    logs = [LogReader(open_store(d["spec"]["storage"]["uri"], S3())) for d in documents.values()]
    assert logs[1].head().step == steps
    assert logs[0].head().digest == logs[1].head().digest
    assert [r.update() for r in logs[0].rows()] == [r.update() for r in logs[1].rows()]
    assert [v.digest for v in logs[0].versions()] == [v.digest for v in logs[1].versions()]
