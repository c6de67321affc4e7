"""Several workers over gloo, each a process: the log is the one that a single worker writes, whoever dies."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from fakes.toy_manifest import manifest, write_manifest
from fixtures.seaweed import free_ports
from zo_runtime.config.storage import S3
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.errors import InvalidSpec
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


def start(
    path: Path, *, workers: int = 1, index: int = 0, port: int = 0, when_lost: str = "Wait"
) -> subprocess.Popen[str]:
    place = {"ZO_WORKERS": str(workers), "JOB_COMPLETION_INDEX": str(index), "ZO_RENDEZVOUS": f"127.0.0.1:{port}"}
    place["ZO_WHEN_WORKER_LOST"] = when_lost
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
    workers = {i: start(path, workers=3, index=i, port=port) for i in (2, 0, 1)}
    await_step(tmp_path, 100)
    kill(workers[1], tmp_path)
    workers[1] = start(path, workers=3, index=1, port=port)
    for process in workers.values():
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


def test_the_others_go_on_without_a_missing_worker_until_it_joins_again(tmp_path: Path, alone: LogReader) -> None:
    path, port = write(tmp_path), free_ports(1)[0]

    def begin(index: int) -> subprocess.Popen[str]:
        return start(path, workers=3, index=index, port=port, when_lost="Continue")

    workers = [begin(i) for i in range(3)]
    await_step(tmp_path, 1)
    lost_at = kill(workers[2], tmp_path)
    await_step(tmp_path, lost_at + 200)  # which no one can reach who waits
    workers[2] = begin(2)
    await_step(tmp_path, lost_at + 400)
    kill(workers[0], tmp_path)
    workers[0] = begin(0)
    said = [process.communicate(timeout=240)[1] for process in workers]
    assert [process.returncode for process in workers] == [0, 0, 0], said
    assert re.search(r"worker [12] of 3 at step [1-9]", said[2]), said[2][-2000:]
    assert "worker 1 of 2 at step" in said[1], said[1][-2000:]
    assert reader(tmp_path).head().digest == alone.head().digest
    assert [r.update() for r in reader(tmp_path).rows()] == [r.update() for r in alone.rows()]


def await_step(folder: Path, step: int, timeout: float = 120) -> int:
    """Wait until the log holds so many steps; its last one."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with suppress(InvalidSpec):  # there is no log yet
            if (found := reader(folder).head().step) >= step:
                return found
        time.sleep(0.1)
    raise AssertionError(f"the log did not come to step {step} in {timeout:g} s")


def kill(process: subprocess.Popen[str], folder: Path) -> int:
    """Kill a worker; the log's last step then."""
    process.kill()
    process.communicate()
    return reader(folder).head().step


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
