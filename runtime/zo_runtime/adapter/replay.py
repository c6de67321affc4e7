"""The bank at any step of a log, bit for bit what the trainer had."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from zo_runtime.adapter import snapshot
from zo_runtime.adapter.workbench import Workbench, open_workbench
from zo_runtime.deltalog.chain import History
from zo_runtime.deltalog.documents import RunInfo, Version
from zo_runtime.deltalog.lineage import Path as Route
from zo_runtime.deltalog.lineage import follow, on_path, remaining, tip, until
from zo_runtime.deltalog.names import LATEST, version_key
from zo_runtime.deltalog.pinned import PinnedVersion
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.errors import InvalidSpec, LogCorrupt
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.method import Update

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
# Steps between two reports of progress.
_CHUNK = 100


class Recorded(NamedTuple):
    """A digest of the bank that an object of the log records."""

    step: int
    digest: str
    key: str


class Source(Protocol):
    """What replay asks of a log."""

    @property
    def run(self) -> RunInfo:
        """What the run is."""

    @property
    def run_sha256(self) -> str:
        """Hash of run.json."""

    def updates(self, first: int, last: int) -> Iterator[Update]:
        """The steps `first`..`last`, verified."""


def replay(
    reader: LogReader,
    *,
    step: int | None = None,
    version: int | None = None,
    snapshot_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    on_progress: Progress | None = None,
) -> Bank:
    """Build the bank after a step, of a version, or (default) of the last durable step.

    With `snapshot_dir`, begin at the nearest sound snapshot there and leave one of the result. `threads` (default:
    the cores of this process) and `device` (of PyTorch, such as `cuda`; default: the cores) change the time only.
    `on_progress(step, target)` is called as it goes on. The result is compared with the last digest that the log
    records at or before the target. Raise `InvalidSpec` for a step or version that the log does not have or a device
    that the machine does not have, `LogCorrupt`, `StorageError`.
    """
    history = reader.history()
    target = _target(reader, history, step, version)
    recorded = [*_recorded(history.versions), Recorded(history.tip, history.latest.head.digest, LATEST)]
    route = history.lineage.path(target)
    return _build(reader, recorded, route, snapshot_dir, threads, device, on_progress)


def replay_version(
    log: PinnedVersion,
    *,
    step: int | None = None,
    snapshot_dir: Path | None = None,
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> Bank:
    """The same from a version that its hash pins, at its last step or at an earlier one."""
    route = log.lineage.path(log.require_step(step))
    return _build(log, _recorded(log.versions), route, snapshot_dir, threads, None, on_progress)


def _recorded(versions: Iterable[Version]) -> list[Recorded]:
    return [Recorded(tip(v), v.digest, version_key(v.number)) for v in versions]


def _build(
    source: Source,
    recorded: list[Recorded],
    route: Route,
    snapshot_dir: Path | None,
    threads: int | None,
    device: str | None,
    on_progress: Progress | None,
) -> Bank:
    """The bank at the end of a route."""
    threads = len(os.sched_getaffinity(0)) if threads is None else threads
    layout, method = source.run.layout(), source.run.method()
    bank = None
    if snapshot_dir is not None:
        bank = snapshot.load_nearest(
            snapshot_dir, source.run_sha256, layout, method, lambda step: on_path(route, step)
        )
    if bank is not None and snapshot_dir is not None:
        problem = _advance(open_workbench(bank, threads, device), source, recorded, route, on_progress)
        if problem is not None:
            log.warning("the replay from a snapshot failed, beginning at step 1: %s", problem)
            snapshot.drop(snapshot_dir, source.run_sha256)
            bank = None
    if bank is None:
        bank = Bank(layout, method)
        problem = _advance(open_workbench(bank, threads, device), source, recorded, route, on_progress)
        if problem is not None:
            raise LogCorrupt(problem)
    if snapshot_dir is not None:
        snapshot.save(snapshot_dir, source.run_sha256, bank)
    return bank


def _target(reader: LogReader, history: History, step: int | None, version: int | None) -> int:
    if step is not None and version is not None:
        raise InvalidSpec(f"step {step} and version {version} exclude each other; give one of them")
    if version is not None:
        return tip(reader.version(version))
    last = history.latest.head.step
    if step is not None and not 0 <= step <= last:
        raise InvalidSpec(f"the log at {reader.store.uri} has no step {step}; it has the steps 1 to {last}")
    return history.tip if step is None else step


def _advance(
    bench: Workbench, source: Source, recorded: list[Recorded], route: Route, on_progress: Progress | None
) -> str | None:
    """Apply the steps of the route. Return what is wrong if the bank is not the one whose digest the log records:
    then the log or the bank that it began with is bad, while a segment that is bad by itself raises `LogCorrupt`."""
    target = route[-1].last if route else 0
    passed = [check for check in recorded if check.step >= bench.step and on_path(route, check.step)]
    for stop, digest, key in sorted(passed, key=lambda check: check.step)[-1:]:
        _apply(bench, source, route, stop, target, on_progress)
        if bench.digest() != digest:
            return f"{key} records the digest {digest} at step {stop}, but replay gives {bench.digest()}"
    _apply(bench, source, route, target, target, on_progress)
    bench.finish()
    return None


def _apply(
    bench: Workbench, source: Source, route: Route, stop: int, target: int, on_progress: Progress | None
) -> None:
    """Bring the bank to the step `stop` of the route."""
    updates = follow(remaining(until(route, stop), bench.step), source.updates)
    while chunk := list(islice(updates, _CHUNK)):
        bench.apply(chunk)
        if on_progress is not None:
            on_progress(bench.step, target)
