"""The single writer of a run's log.

`append` keeps steps in memory, `flush` makes them durable, `publish` also makes a version. Each of the two ends
with one compare-and-swap of LATEST.json; whatever was written before it is litter until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from zo_runtime.deltalog.begin import ensure_run, first_head, require_same_data
from zo_runtime.deltalog.chain import History, Link, load_history, require_nothing_written
from zo_runtime.deltalog.checked_json import encode, sha256
from zo_runtime.deltalog.clock import Clock, SystemClock
from zo_runtime.deltalog.data_list import put_data_list
from zo_runtime.deltalog.documents import (
    Cost,
    DataList,
    Evaluation,
    Head,
    Latest,
    ObjectRef,
    RunInfo,
    Version,
    WriterInfo,
)
from zo_runtime.deltalog.fetch import must_exist
from zo_runtime.deltalog.heartbeat import Heartbeat
from zo_runtime.deltalog.inventory import Inventory
from zo_runtime.deltalog.lease import Lease, acquire
from zo_runtime.deltalog.lineage import follow, tip
from zo_runtime.deltalog.names import LATEST, metrics_key, segment_key, version_key
from zo_runtime.deltalog.owner import Identity, Process
from zo_runtime.deltalog.parquet import encode_metrics, encode_segment
from zo_runtime.deltalog.round_start import new_head, require_same_round, require_version, unfinished
from zo_runtime.deltalog.rows import StepRow, require_row
from zo_runtime.deltalog.stream import stream_segments, stream_with_metrics
from zo_runtime.rounds.contract import Verdict, VersionReference
from zo_runtime.storage.protocol import ObjectStore
from zo_runtime.zo.method import Update

SEGMENT_STEPS = 1000
LEASE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class FlushInfo:
    """What a flush left: the last durable step, the bytes it wrote, and the size of the whole log in bytes."""

    step: int
    bytes: int
    total_bytes: int


class LogWriter:
    """Appends to one run's log. Use it as a context manager, or call `close`."""

    def __init__(self, store: ObjectStore, run: RunInfo, data_digest: str | None, clock: Clock, lease: Lease,
                 heartbeat: Heartbeat):  # fmt: skip
        """Use `open`."""
        self.run = run
        self._store, self._data_digest, self._clock = store, data_digest or "", clock
        self._lease, self._heartbeat = lease, heartbeat
        self._method = run.method()
        self._history = load_history(store, lease.latest)
        if data_digest is not None:
            require_same_data(self._history, data_digest, store.uri)
        self._inventory = Inventory.of(store, lease, self._history)
        self._step = self._head.step
        self._rows = self._read_incomplete()

    @classmethod
    def open(
        cls,
        store: ObjectStore,
        run: RunInfo,
        *,
        data_digest: str | None,
        who: Identity | None = None,
        clock: Clock | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> Self:
        """Begin a run's log, or take it up after its last durable step.

        `data_digest` names the data in which cursors count from here on; it may change only where a version ends.
        None leaves that to `begin_round`, which must come before the first step then.
        Raise `LogOwned` while another writer lives, `LogMismatch` when the log is of another run or its last steps
        are of other data, `LogCorrupt`, `StorageError`.
        """
        clock = SystemClock() if clock is None else clock
        run, run_sha256 = ensure_run(store, run)

        def first(writer: WriterInfo) -> Latest:
            require_nothing_written(store, LATEST)
            return first_head(run, run_sha256, data_digest or "", writer)

        lease = acquire(store, first, Process.current() if who is None else who, clock, lease_seconds)
        with ExitStack() as undo:
            undo.callback(lease.release)
            heartbeat = Heartbeat(lease, lease_seconds / 3)
            undo.callback(heartbeat.stop)
            writer = cls(store, run, data_digest, clock, lease, heartbeat)
            undo.pop_all()
        return writer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def step(self) -> int:
        """The last step that was appended, durable or not."""
        return self._step

    @property
    def head(self) -> Head:
        """The last durable step with the bank's digest there."""
        return self._head

    @property
    def history(self) -> History:
        """The durable state of the log."""
        return self._history

    @property
    def versions(self) -> tuple[Version, ...]:
        """Every published version, oldest first."""
        return self._history.versions

    @property
    def version_sha256(self) -> str | None:
        """SHA-256 of the newest version's object, none before the first."""
        return self._history.latest.version_sha256

    @property
    def total_bytes(self) -> int:
        """Size of the log in bytes, without the report and the records set aside."""
        return self._inventory.total_bytes

    def updates(self, step: int | None = None) -> Iterator[Update]:
        """What makes the bank after `step`; by default that of the head, which a resumed run goes on with."""
        path = self._history.lineage.path(self._history.tip if step is None else step)
        return follow(path, self._read_updates)

    def step_of(self, reference: VersionReference | None) -> int:
        """The step whose bank a version is; 0 for the base model. Raise `LogMismatch` if the log has another one."""
        link = require_version(self._history, reference, self._store.uri)
        return 0 if link is None else tip(link.version)

    def begin_round(self, data: DataList, data_digest: str, cursor: int = 0) -> None:
        """Begin the round that `data` describes, or go on with it. `data_digest` names the examples that it makes.

        Steps of an earlier round that no version holds become a version without evaluation and verdict; `cursor`
        counts the examples that they and the steps before them in their round consumed. Raise `LogMismatch` if the
        round is over, if it was begun with other data, or if the log has no such version as its base or served one.
        """
        self._lease.renew()
        history, encoded = self._history, encode(data)
        if history.latest.head.round == data.round:
            require_same_round(history.latest.head, data, sha256(encoded), data_digest, self._store.uri)
            self._data_digest = data_digest
            return
        head = new_head(history, self.run, data, sha256(encoded), data_digest, self._store.uri)
        put_data_list(self._inventory, self._store, data.round, encoded)
        links = history.links
        closing = unfinished(history, cursor, self._clock.now())
        if closing is not None:
            content = encode(closing)
            self._inventory.put(version_key(closing.number), content)
            links = (*links, Link(closing, sha256(content), len(content)))
        self._data_digest = data_digest
        self._commit(head, links, [])

    def append(self, row: StepRow) -> None:
        """Add the next step, in memory. Raise `LogOwned` once another writer took the run."""
        self._lease.require()
        require_row(row, self._step + 1, self._method)
        self._rows.append(row)
        self._step = row.step

    def flush(self, digest: str) -> FlushInfo:
        """Make every appended step durable. `digest` is the bank's after the last one."""
        self._lease.require()
        before = self._inventory.written
        if self._step > self._head.step:
            self._lease.renew()  # a writer that was fenced while it slept shall leave no litter
            segments, metrics = self._write_rows()
            incomplete = self._rows[len(self._rows) - len(self._rows) % SEGMENT_STEPS :]
            self._commit(self._make_head(digest, segments, metrics), self._history.links, incomplete)
        return FlushInfo(self._head.step, self._inventory.written - before, self.total_bytes)

    def publish(
        self,
        evaluation: Evaluation | None,
        cursor: int,
        digest: str,
        verdict: Verdict | None = None,
        cost: Cost | None = None,
    ) -> Version:
        """Flush and make a version of the state after the last step. `cursor` counts the examples consumed. A version
        with a verdict is the last one of its round."""
        self._lease.renew()
        segments, metrics = self._write_rows()
        links, head = self._history.links, self._head
        version = Version(
            number=len(links) + 1,
            run=self._history.latest.run,
            previous=links[-1].sha256 if links else None,
            first_step=self._history.published_step + 1,
            last_step=self._step,
            segments=segments,
            metrics=metrics,
            evaluation=evaluation,
            cursor=cursor,
            data_digest=self._data_digest,
            digest=digest,
            created=self._clock.now(),
            base=head.base,
            round=head.round,
            data_list=head.data_list,
            verdict=verdict,
            cost=cost,
        )
        data = encode(version)
        self._inventory.put(version_key(version.number), data)
        base = head.base if self._step == self._history.published_step else None  # else new steps stand on it
        after = self._make_head(digest, (), ()).model_copy(update={"base": base})
        self._commit(after, (*links, Link(version, sha256(data), len(data))), [])
        return version

    def close(self) -> None:
        """Stop, and let the next writer in at once. Steps that were not flushed are dropped."""
        self._heartbeat.stop()
        self._lease.release()

    @property
    def _head(self) -> Head:
        return self._history.latest.head

    def _make_head(self, digest: str, segments: tuple[ObjectRef, ...], metrics: tuple[ObjectRef, ...]) -> Head:
        changes = {"step": self._step, "digest": digest, "segments": segments, "metrics": metrics}
        return self._head.model_copy(update={**changes, "data_digest": self._data_digest})

    def _commit(self, head: Head, links: tuple[Link, ...], incomplete: list[StepRow]) -> None:
        """Move the head; only after the swap may this object change."""
        newest = {"version": len(links), "version_sha256": links[-1].sha256} if links else {}
        self._lease.commit(lambda latest: latest.model_copy(update={"head": head, **newest}))
        self._history = History(self._lease.latest, links)
        self._rows = incomplete
        self._inventory.settle(self._history)

    def _write_rows(self) -> tuple[tuple[ObjectRef, ...], tuple[ObjectRef, ...]]:
        """Write the steps that no complete segment holds; return what holds all steps since the last version."""
        head, open_first = self._head, self._step - len(self._rows) + 1
        segments = [ref for ref in head.segments if ref.last < open_first]
        metrics = [ref for ref in head.metrics if ref.last < open_first]
        for start in range(0, len(self._rows), SEGMENT_STEPS):
            rows = self._rows[start : start + SEGMENT_STEPS]
            segments.append(self._write(segment_key, encode_segment, rows))
            metrics.append(self._write(metrics_key, encode_metrics, rows))
        return tuple(segments), tuple(metrics)

    def _write(
        self, name: Callable[[int, int], str], encode: Callable[[list[StepRow]], bytes], rows: list[StepRow]
    ) -> ObjectRef:
        first, last = rows[0].step, rows[-1].step
        key = name(first, last)
        for ref in (*self._head.segments, *self._head.metrics):
            if ref.key == key:
                return ref
        data = encode(rows)
        self._inventory.put(key, data)
        return ObjectRef(key=key, first=first, last=last, size=len(data), sha256=sha256(data))

    def _read_updates(self, first: int, last: int) -> Iterator[Update]:
        with must_exist():
            for segment in stream_segments(self._store, self._history.segments, self._method.directions, first, last):
                yield from segment.updates()

    def _read_incomplete(self) -> list[StepRow]:
        """The steps of the last segment, if it may still grow."""
        last = self._head.segments[-1:]
        if not last or last[0].last - last[0].first + 1 >= SEGMENT_STEPS:
            return []
        with must_exist():
            pairs = stream_with_metrics(
                self._store, last, self._head.metrics[-1:], self._method.directions, last[0].first, last[0].last
            )
            return [row for segment, costs in pairs for row in segment.rows(costs)]
