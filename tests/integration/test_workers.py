"""Several workers over gloo, each a process: the log is the one that a single worker writes, whoever dies."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fakes.toy_manifest import manifest, write_manifest
from fixtures.seaweed import free_ports
from zo_runtime.config.storage import S3
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.storage.open import open_store

# `zo run` with the toy model in the place of vLLM.
PROGRAM = """
import os, sys
from fakes.toy import ToyModel
from zo_runtime.config.load import load_document
from zo_runtime.job import Job
from zo_runtime.workers.follow import follow
from zo_runtime.workers.membership import membership
document, _ = load_document(sys.argv[1])
place, model = membership(os.environ), ToyModel(step_seconds=0.004)
if place is not None and place.rank:
    follow(document, model, place)
else:
    Job(document, model, lambda: False, place).run()
"""
TESTS = Path(__file__).parents[1]
KILLS = 20
STEPS = 1500


def start(path: Path, *, workers: int = 1, index: int = 0, port: int = 0) -> subprocess.Popen[str]:
    place = {"ZO_WORKERS": str(workers), "JOB_COMPLETION_INDEX": str(index), "ZO_RENDEZVOUS": f"127.0.0.1:{port}"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        cwd=TESTS,
        env=os.environ | place | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def settle(process: subprocess.Popen[str], timeout: float = 240) -> None:
    _, error = process.communicate(timeout=timeout)
    assert process.returncode == 0, error[-3000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> LogReader:
    folder = tmp_path_factory.mktemp("alone")
    process = start(write(folder))
    settle(process)
    return reader(folder)


def write(folder: Path) -> Path:
    document = manifest(folder, steps=STEPS, directions=3, momentum={"beta": 0.5})
    document["spec"]["storage"]["flush"] = {"everySteps": 50}
    document["spec"]["evaluation"] = {"every": 300}
    return write_manifest(folder, document)


def reader(folder: Path) -> LogReader:
    return LogReader(open_store(str(folder / "log"), S3()))


def test_three_workers_write_the_log_of_one(tmp_path: Path, alone: LogReader) -> None:
    path, port = write(tmp_path), free_ports(1)[0]
    workers = [start(path, workers=3, index=i, port=port) for i in (2, 0, 1)]
    for process in workers:
        settle(process)
    shared = reader(tmp_path)
    assert shared.head().digest == alone.head().digest
    assert [r.update() for r in shared.rows()] == [r.update() for r in alone.rows()]
    assert [v.evaluation for v in shared.versions()] == [v.evaluation for v in alone.versions()]


def test_twenty_kills_of_either_worker_change_nothing(tmp_path: Path, alone: LogReader) -> None:
    rng, path, port = random.Random(4), write(tmp_path), free_ports(1)[0]
    workers = {i: start(path, workers=2, index=i, port=port) for i in (0, 1)}
    killed = []
    while len(killed) < KILLS:
        time.sleep(rng.uniform(0.3, 2.0))
        victim = rng.randrange(2)
        if workers[0].poll() is not None:
            break
        workers[victim].kill()
        workers[victim].communicate()
        workers[victim] = start(path, workers=2, index=victim, port=port)
        killed.append(victim)
    for process in workers.values():
        settle(process)
    assert len(killed) == KILLS
    assert set(killed) == {0, 1}
    assert reader(tmp_path).head().digest == alone.head().digest
    assert [r.update() for r in reader(tmp_path).rows()] == [r.update() for r in alone.rows()]


def test_a_worker_with_other_data_is_refused(tmp_path: Path) -> None:
    mine, other, port = tmp_path / "mine", tmp_path / "other", free_ports(1)[0]
    for folder in (mine, other):
        folder.mkdir()
    leader, path = start(write(mine), workers=2, index=0, port=port), write(other)
    with (other / "messages.jsonl").open("a") as out:
        out.write('{"text": "one more good film", "label": 1}\n')
    follower = start(path, workers=2, index=1, port=port)
    for process in (leader, follower):
        _, error = process.communicate(timeout=120)
        assert process.returncode != 0
        assert "read other data, another model or another manifest" in error
