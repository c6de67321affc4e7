"""The bank at any step of a log, bit for bit what the trainer had."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from zo_runtime.adapter import snapshot
from zo_runtime.deltalog.chain import History
from zo_runtime.deltalog.names import LATEST, version_key
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.errors import InvalidSpec, LogCorrupt
from zo_runtime.zo.bank import Bank

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
# Steps between two reports of progress.
_CHUNK = 100


def replay(
    reader: LogReader,
    *,
    step: int | None = None,
    version: int | None = None,
    snapshot_dir: Path | None = None,
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> Bank:
    """Build the bank at a step, at the end of a version, or (default) at the last durable step.

    With `snapshot_dir`, begin at the nearest sound snapshot there and leave one of the result. `threads` (default:
    the cores of this process) change the time only. `on_progress(step, target)` is called as it goes on. The result
    is compared with the last digest that the log records at or before the target. Raise `InvalidSpec` for a step or
    version that the log does not have, `LogCorrupt`, `StorageError`.
    """
    history = reader.history()
    target = _target(reader, history, step, version)
    threads = len(os.sched_getaffinity(0)) if threads is None else threads
    layout, method = reader.run.layout(), reader.run.method()
    bank = None
    if snapshot_dir is not None:
        bank = snapshot.load_nearest(snapshot_dir, reader.run_sha256, layout, method, target)
    if bank is not None and snapshot_dir is not None:
        try:
            _advance(bank, reader, history, target, threads, on_progress)
        except LogCorrupt as error:
            log.warning("the replay from a snapshot failed, beginning at step 1: %s", error)
            snapshot.drop(snapshot_dir, reader.run_sha256)
            bank = None
    if bank is None:
        bank = Bank(layout, method)
        _advance(bank, reader, history, target, threads, on_progress)
    if snapshot_dir is not None:
        snapshot.save(snapshot_dir, reader.run_sha256, bank)
    return bank


def _target(reader: LogReader, history: History, step: int | None, version: int | None) -> int:
    if step is not None and version is not None:
        raise InvalidSpec(f"step {step} and version {version} exclude each other; give one of them")
    if version is not None:
        return reader.version(version).last_step
    last = history.latest.head.step
    if step is not None and not 0 <= step <= last:
        raise InvalidSpec(f"the log at {reader.store.uri} has no step {step}; it has the steps 1 to {last}")
    return last if step is None else step


def _advance(
    bank: Bank, reader: LogReader, history: History, target: int, threads: int, on_progress: Progress | None
) -> None:
    """Apply the steps up to `target`, stopping on the way where the log records a digest."""
    recorded = [(v.last_step, v.digest, version_key(v.number)) for v in history.versions]
    recorded.append((history.latest.head.step, history.latest.head.digest, LATEST))
    checks = [check for check in recorded if bank.step <= check[0] <= target][-1:]
    for stop, digest, key in checks:
        _apply(bank, reader, stop, target, threads, on_progress)
        if bank.digest() != digest:
            raise LogCorrupt(f"{key} records the digest {digest} at step {stop}, but replay gives {bank.digest()}")
    _apply(bank, reader, target, target, threads, on_progress)


def _apply(bank: Bank, reader: LogReader, stop: int, target: int, threads: int, on_progress: Progress | None) -> None:
    updates = reader.updates(bank.step + 1, stop)
    while chunk := list(islice(updates, _CHUNK)):
        bank.apply(chunk, threads)
        if on_progress is not None:
            on_progress(bank.step, target)
