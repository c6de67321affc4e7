"""Replay gives the trainer's bank to the last bit: at any step, from any snapshot, with any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.logs import DATA, LAYOUT, LEASE, METHOD, FakeProcess, Trainer, bank_digest, make_row, run_info
from zo_runtime.adapter import snapshot
from zo_runtime.adapter.replay import replay
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import InvalidSpec, LogCorrupt
from zo_runtime.storage.local import LocalStore
from zo_runtime.storage.memory import MemoryStore
from zo_runtime.storage.protocol import ObjectStore
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.method import Method, Update

MOMENTUM = replace(METHOD, momentum=0.9, weight_decay=0.1)


def trained(store: ObjectStore, steps: int, method: Method = METHOD) -> LogReader:
    run = run_info(method=method)
    who = FakeProcess(f"to-{steps}")
    with LogWriter.open(store, run, data_digest=DATA, who=who, lease_seconds=LEASE) as writer:
        Trainer(writer).train(steps)
    return LogReader(store)


@pytest.mark.parametrize("device", [None, "cpu"], ids=["cores", "torch"])
@pytest.mark.parametrize("method", [METHOD, MOMENTUM], ids=["plain", "momentum"])
@pytest.mark.parametrize("step", [0, 1, 9, 10, 23, 25])
def test_any_step_is_the_trainers(method: Method, step: int, device: str | None) -> None:
    bank = replay(trained(MemoryStore(), 25, method), step=step, threads=2, device=device)
    assert bank.step == step
    assert bank.digest() == bank_digest(step, method=method)


def test_a_version_and_the_head_are_the_trainers() -> None:
    reader = trained(MemoryStore(), 25)
    assert replay(reader, version=2).digest() == reader.version(2).digest == bank_digest(20)
    assert replay(reader).digest() == reader.head().digest == bank_digest(25)


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.integers(0, 25), st.sampled_from([None, "cpu"])), min_size=1, max_size=5),
    st.sampled_from([METHOD, MOMENTUM]),
)
def test_snapshots_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str | None]], method: Method
) -> None:
    """Nor does where each replay computes, on cores or on a device of PyTorch."""
    reader, folder = trained(MemoryStore(), 25, method), tmp_path_factory.mktemp("snapshots")
    for step, device in steps:
        bank = replay(reader, step=step, snapshot_dir=folder, device=device)
        assert bank.digest() == bank_digest(step, method=method)
    assert 1 <= len(list(folder.iterdir())) <= 2


def test_a_snapshot_saves_the_steps_before_it(tmp_path: Path) -> None:
    store = MemoryStore()
    replay(trained(store, 20), snapshot_dir=tmp_path)
    reader = trained(store, 30)
    seen: list[tuple[int, int]] = []
    bank = replay(reader, snapshot_dir=tmp_path, on_progress=lambda step, target: seen.append((step, target)))
    assert bank.digest() == bank_digest(30)
    assert seen == [(30, 30)]
    reads: list[str] = []
    get = store.get
    store.get = lambda key: (reads.append(key), get(key))[1]  # type: ignore[method-assign]
    trained(store, 35)
    reads.clear()
    replay(reader, snapshot_dir=tmp_path)
    assert [key for key in reads if "segments" in key] == ["segments/000000031-000000035.parquet"]


def test_a_bad_snapshot_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = trained(MemoryStore(), 25)
    replay(reader, snapshot_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    for bad in (data[:-1], data[:100] + bytes([data[100] ^ 1]) + data[101:], b""):
        path.write_bytes(bad)
        caplog.clear()
        assert replay(reader, snapshot_dir=tmp_path).digest() == bank_digest(25)
        assert "is not used and removed" in caplog.text
        assert path.read_bytes() == data


def test_a_snapshot_of_another_history_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It proves itself, but the log's own digest at the next version shows that it is wrong."""
    reader = trained(MemoryStore(), 25)
    other = Bank(LAYOUT, METHOD)
    other.apply([Update(1, 1e-3, (0.5, 0.25))])
    snapshot.save(tmp_path, reader.run_sha256, other)
    assert replay(reader, snapshot_dir=tmp_path).digest() == bank_digest(25)
    assert "the replay from a snapshot failed, beginning at step 1" in caplog.text
    assert [path.name[-21:-12] for path in tmp_path.iterdir()] == ["000000025"]


def test_snapshots_of_two_logs_share_a_folder(tmp_path: Path) -> None:
    one, two = trained(MemoryStore(), 12), trained(MemoryStore(), 12, MOMENTUM)
    for _ in range(2):
        assert replay(one, snapshot_dir=tmp_path).digest() == bank_digest(12)
        assert replay(two, snapshot_dir=tmp_path).digest() == bank_digest(12, method=MOMENTUM)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_costs_only_the_snapshot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "file"
    folder.write_text("")
    assert replay(trained(MemoryStore(), 5), snapshot_dir=folder).step == 5
    assert "could not be written" in caplog.text


def test_a_digest_that_replay_does_not_give_is_refused() -> None:
    store = MemoryStore()
    with LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("a"), lease_seconds=LEASE) as writer:
        writer.append(make_row(1))
        writer.publish(None, 16, "0" * 64)
    with pytest.raises(LogCorrupt, match=r"records the digest 0000.* at step 1, but replay gives"):
        replay(LogReader(store))


def test_wrong_targets_are_named() -> None:
    reader = trained(MemoryStore(), 5)
    with pytest.raises(InvalidSpec, match="no step 6; it has the steps 1 to 5"):
        replay(reader, step=6)
    with pytest.raises(InvalidSpec, match="no version 2"):
        replay(reader, version=2)
    with pytest.raises(InvalidSpec, match="step 1 and version 1 exclude each other"):
        replay(reader, step=1, version=1)


def test_a_device_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = trained(MemoryStore(), 5)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(InvalidSpec, match="--device cuda:1: PyTorch finds no such GPU here"):
        replay(reader, device="cuda:1")
    with pytest.raises(InvalidSpec, match="--device tpu: no such kind of device; give cpu, cuda or cuda:1"):
        replay(reader, device="tpu")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidSpec, match="--device cuda needs PyTorch, which is not installed"):
        replay(reader, device="cuda")
    assert replay(reader).digest() == bank_digest(5)


SCRIPT = """
import sys
from pathlib import Path
from zo_runtime.adapter import snapshot
from zo_runtime.adapter.replay import replay
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.storage.local import LocalStore
reader = LogReader(LocalStore(sys.argv[1]))
folder = Path(sys.argv[2])
print(replay(reader, threads=3).digest())
replay(reader, step=13, snapshot_dir=folder, threads=1)
print(replay(reader, snapshot_dir=folder, threads=2).digest())
"""


def test_another_process_gets_the_same_bits(tmp_path: Path) -> None:
    reader = trained(LocalStore(tmp_path / "log"), 25, MOMENTUM)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "log"), str(tmp_path / "snapshots")],
        capture_output=True, text=True, check=True, timeout=300, env={**os.environ, "NUMBA_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split() == [reader.head().digest] * 2
    assert np.count_nonzero(replay(reader).values) > 0
