"""Processes that swap one object and are killed at random moments: nothing acknowledged is lost."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from fixtures import swap_worker
from zo_runtime.storage.local import LocalStore

WORKERS, KILLS = 3, 25


def start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, swap_worker.__file__, str(folder), name])


def test_acknowledged_swaps_survive_kill_9(tmp_path: Path) -> None:
    chance = random.Random(20)
    (tmp_path / "store").mkdir()
    workers = {f"worker-{number}": start(tmp_path, f"worker-{number}") for number in range(WORKERS)}
    try:
        while not all((tmp_path / name).exists() for name in workers):
            assert all(worker.poll() is None for worker in workers.values())
            time.sleep(0.01)
        for kill in range(KILLS):
            time.sleep(chance.uniform(0.0, 0.25))
            name = chance.choice(sorted(workers))
            victim = workers.pop(name)
            assert victim.poll() is None, "a worker ended by itself"
            victim.kill()
            victim.wait()
            workers[f"worker-{WORKERS + kill}"] = start(tmp_path, f"worker-{WORKERS + kill}")
        time.sleep(0.5)
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()

    store = LocalStore(tmp_path / "store")
    entries = store.get(swap_worker.KEY)[0].decode().splitlines(keepends=True)
    assert len(entries) == len(set(entries)), "no write took effect twice"
    noted = {path.name: path.read_text().splitlines(keepends=True) for path in tmp_path.glob("worker-*")}
    for name, acknowledged in noted.items():
        own = [entry for entry in entries if entry.startswith(f"{name}:")]
        assert own[: len(acknowledged)] == acknowledged
        assert len(own) - len(acknowledged) <= 1, "at most the write in flight was not noted"
    assert sum(map(len, noted.values())) > KILLS, "the workers did work"
    assert [info.key for info in store.list()] == [swap_worker.KEY]
    store.put(swap_worker.KEY, b"free", if_match=store.get(swap_worker.KEY)[1])
