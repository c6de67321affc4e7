"""Reading a log, also while it is written: every answer is of one consistent, verified state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from zo_runtime.deltalog.chain import History, load_history, load_latest, load_run
from zo_runtime.deltalog.documents import Head, RunInfo, Version
from zo_runtime.deltalog.parquet import Segment
from zo_runtime.deltalog.rows import StepRow
from zo_runtime.deltalog.stream import stream_segments, stream_with_metrics
from zo_runtime.errors import InvalidSpec, LogCorrupt
from zo_runtime.storage.protocol import NotFound, ObjectStore
from zo_runtime.zo.method import Update


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One step for a plot: means over directions and signs; time in seconds, tokens scored."""

    step: int
    loss: float
    gradient: float
    learning_rate: float
    step_seconds: float
    tokens: int


class LogReader:
    """Reads the log in a store. Never writes; needs no rights to do so."""

    def __init__(self, store: ObjectStore):
        self.store = store
        self._history: History | None = None

    @property
    def run(self) -> RunInfo:
        """What the run is. Raise `InvalidSpec` where there is no log, `LogCorrupt`."""
        return self._run[0]

    @property
    def run_sha256(self) -> str:
        """Hash of run.json: identifies this log among all."""
        return self._run[1]

    def history(self) -> History:
        """The state of the log now: head and chain of versions, verified."""
        latest = load_latest(self.store, self.run_sha256)
        known = () if self._history is None else self._history.links
        self._history = load_history(self.store, latest, known)
        return self._history

    def head(self) -> Head:
        """The last durable step now."""
        return self.history().latest.head

    def versions(self) -> tuple[Version, ...]:
        """Every published version now, oldest first."""
        return self.history().versions

    def version(self, number: int) -> Version:
        """One published version. Raise `InvalidSpec` if there is none of that number."""
        versions = self.versions()
        if not 1 <= number <= len(versions):
            known = f"it has the versions 1 to {len(versions)}" if versions else "it has no version yet"
            raise InvalidSpec(f"the log at {self.store.uri} has no version {number}; {known}")
        return versions[number - 1]

    def updates(self, first: int = 1, last: int | None = None) -> Iterator[Update]:
        """What replay needs of the durable steps `first`..`last` (default: the head)."""
        for segment in self.segments(first, last):
            yield from segment.updates()

    def segments(self, first: int = 1, last: int | None = None) -> Iterator[Segment]:
        """The durable steps, a segment at a time. Raise `InvalidSpec` for steps that the log does not have.

        While a run goes on, its writer replaces the last, incomplete segment by longer ones; where that happens
        during the reading, the reading goes on from the new one.
        """
        history = self.history()
        last = self._require_step(history, history.latest.head.step if last is None else last)
        while first <= last:
            try:
                for part in stream_segments(self.store, history.segments, self._directions, first, last):
                    yield part
                    first = int(part.steps[-1]) + 1
            except NotFound as gone:
                history = self._moved_on(history, gone)

    def rows(self, first: int = 1, last: int | None = None) -> Iterator[StepRow]:
        """The durable steps as they were appended, with their time and tokens."""
        history = self.history()
        last = self._require_step(history, history.latest.head.step if last is None else last)
        while first <= last:
            pairs = stream_with_metrics(self.store, history.segments, history.metrics, self._directions, first, last)
            try:
                for segment, costs in pairs:
                    yield from segment.rows(costs)
                    first = int(segment.steps[-1]) + 1
            except NotFound as gone:
                history = self._moved_on(history, gone)

    def metrics(self, first: int = 1, last: int | None = None) -> Iterator[StepMetrics]:
        """The same for plots."""
        epsilon = self.run.method_fields.epsilon
        for row in self.rows(first, last):
            gradients = row.gradients(epsilon)
            gradient = sum(gradients) / len(gradients)
            yield StepMetrics(row.step, row.loss(), gradient, row.learning_rate, row.step_seconds, row.tokens)

    @cached_property
    def _run(self) -> tuple[RunInfo, str]:
        return load_run(self.store)

    @property
    def _directions(self) -> int:
        return self.run.method_fields.directions

    def _require_step(self, history: History, step: int) -> int:
        durable = history.latest.head.step
        if not 0 <= step <= durable:
            raise InvalidSpec(f"the log at {self.store.uri} has no step {step}; it has the steps 1 to {durable}")
        return step

    def _moved_on(self, history: History, gone: NotFound) -> History:
        """The new state of a log one of whose objects is gone; `LogCorrupt` if nothing has replaced it."""
        fresh = self.history()
        if fresh.latest.head == history.latest.head:
            raise LogCorrupt(f"{gone} is missing; restore it from a copy")
        return fresh
