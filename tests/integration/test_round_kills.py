"""kill -9 at random moments of three rounds: the log ends as one that was never disturbed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from fakes.toy_rounds import deliver, log_of, order, source, write_round
from fixtures.seaweed import free_ports
from zo_runtime.deltalog.verify import verify

# `zo run` with the toy model in the place of vLLM.
PROGRAM = """
import os, sys
from fakes.toy import ToyModel
from zo_runtime.config.load import load_document
from zo_runtime.job import Job
from zo_runtime.workers.follow import follow
from zo_runtime.workers.membership import membership
document, _ = load_document(sys.argv[1])
place, model = membership(os.environ), ToyModel(step_seconds=0.01)
print("ready", flush=True)
if place is not None and place.rank:
    follow(document, model, place)
else:
    Job(document, model, lambda: False, place).run()
"""
TESTS = Path(__file__).parents[1]
KILLS = 5  # in each round


def start(path: Path, workers: int = 1, index: int = 0, port: int = 0) -> subprocess.Popen[str]:
    place = {"ZO_WORKERS": str(workers), "JOB_COMPLETION_INDEX": str(index), "ZO_RENDEZVOUS": f"127.0.0.1:{port}"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        cwd=TESTS,
        env=os.environ | place | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def manifest_of(folder: Path, number: int, base: int | None) -> Path:
    document = source(folder)
    document["spec"]["optimizer"] |= {"steps": 150, "momentum": {"beta": 0.5}}
    document["spec"]["storage"]["flush"] = {"everySteps": 7}
    document["spec"]["evaluation"] = {"every": 40}
    return write_round(folder, document, order(folder, number, base, base))


def three_rounds(folder: Path, kills: int) -> int:
    """The third round continues from the first. Returns how many processes were killed."""
    rng, killed = random.Random(3), 0
    folder.mkdir()
    for number, base in ((1, None), (2, 5), (3, 5)):
        deliver(folder, f"{number}.jsonl", 200, seed=number)
        path = manifest_of(folder, number, base)
        left = kills
        while True:
            process = start(path)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            try:
                _, error = process.communicate(timeout=rng.uniform(0.0, 1.2) if left else 240)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                left, killed = left - 1, killed + 1
                continue
            assert process.returncode == 0, error
            break
    return killed


def test_kills_in_every_round_change_nothing(tmp_path: Path) -> None:
    assert three_rounds(tmp_path / "whole", 0) == 0
    assert three_rounds(tmp_path / "killed", KILLS) >= 2 * KILLS
    whole, killed = log_of(tmp_path / "whole"), log_of(tmp_path / "killed")
    assert whole.head().step == killed.head().step == 450
    assert [r.update() for r in whole.rows()] == [r.update() for r in killed.rows()]
    fields = ("digest", "first_step", "last_step", "base", "round", "evaluation", "verdict")
    for field in fields:
        assert [getattr(v, field) for v in whole.versions()] == [getattr(v, field) for v in killed.versions()]
    report = verify(killed.store)
    assert report.problems == []
    assert report.digest == whole.head().digest


def test_two_workers_make_the_round_of_one(tmp_path: Path) -> None:
    three_rounds(tmp_path / "alone", 0)
    shared = tmp_path / "shared"
    shared.mkdir()
    for number, base in ((1, None), (2, 5), (3, 5)):
        deliver(shared, f"{number}.jsonl", 200, seed=number)
        path, port = manifest_of(shared, number, base), free_ports(1)[0]
        # The follower is first: it has to wait for the leader's data list.
        workers = [start(path, 2, index, port) for index in (1, 0)]
        for process in workers:
            _, error = process.communicate(timeout=240)
            assert process.returncode == 0, error[-3000:]
    one, two = log_of(tmp_path / "alone"), log_of(shared)
    assert [v.digest for v in one.versions()] == [v.digest for v in two.versions()]
    assert [r.update() for r in one.rows()] == [r.update() for r in two.rows()]
