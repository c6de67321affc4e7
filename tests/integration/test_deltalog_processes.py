"""Real processes and one log: one writer at a time, and `kill -9` costs the unflushed tail only."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fixtures import log_trainer
from fixtures.logs import bank_digest, make_row
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.deltalog.verify import verify
from zo_runtime.storage.local import LocalStore

TESTS = Path(log_trainer.__file__).parents[1]


@contextmanager
def trainer(uri: Path, last: int, flush_every: int, pause: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, log_trainer.__file__, str(uri), str(last), str(flush_every), str(pause)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_and_a_killed_one_replaced_at_once(tmp_path: Path) -> None:
    uri = tmp_path / "log"
    with trainer(uri, 10_000, 5, 0.01) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "opened 0\n"
        assert first.stdout.readline() == "durable 5\n"
        with trainer(uri, 20, 5) as second:
            output, errors = second.communicate(timeout=120)
            assert (second.returncode, output) == (6, "")
            assert f"process {first.pid} on " in errors
            assert errors.endswith("is writing this run; end it, or use another storage.uri\n")
        assert first.poll() is None, "the owner goes on"
        first.kill()
        first.wait()
    started = time.monotonic()
    with trainer(uri, LogReader(LocalStore(uri)).head().step + 5, 5) as third:
        output, errors = third.communicate(timeout=120)
        assert (third.returncode, errors) == (0, "")
        assert output.startswith("opened ")
    assert time.monotonic() - started < 25, "no lease was waited for"
    assert verify(LocalStore(uri)).problems == []


def test_twenty_kills_end_where_a_smooth_run_does(tmp_path: Path) -> None:
    uri, last, random_ = tmp_path / "log", 400, random.Random(1)
    store, durable, kills = LocalStore(uri), 0, 0
    while kills < 20:
        with trainer(uri, last, 7, 0.001) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == f"opened {durable}\n", "a resumed run begins at the last durable step"
            lines = random_.randrange(4)
            for _ in range(lines):
                said = process.stdout.readline()
            time.sleep(random_.random() * 0.02)
            process.kill()
            process.wait()
            kills += 1
        durable_now = LogReader(store).head().step
        assert durable_now >= (int(said.split()[1]) if lines and said else durable)
        durable = durable_now
    with trainer(uri, last, 7) as process:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
    report = verify(store)
    assert report.problems == []
    assert report.digest == bank_digest(last)
    assert [row.update() for row in LogReader(store).rows()] == [make_row(t).update() for t in range(1, last + 1)]
