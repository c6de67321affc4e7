"""One job from its manifest to its result: wires the data, the engine, the log and the observers together.

The order matters: everything that can be wrong with the manifest, the data and the log is found before the engine
spends time on loading, except for what only the engine knows.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from zo_runtime.config.document import Document
from zo_runtime.console import ConsoleObserver
from zo_runtime.data.dataset import Dataset
from zo_runtime.deltalog.documents import Evaluation, Version
from zo_runtime.deltalog.quarantine_file import put_quarantine
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import LogCorrupt, ZOError
from zo_runtime.inputs import BaseModel, Inputs, run_info
from zo_runtime.progress import Progress, Result
from zo_runtime.records import EvaluationRecord, FlushRecord, PublishRecord
from zo_runtime.rounds.gate import UNGATED
from zo_runtime.rounds.judging import Exam, judge_after
from zo_runtime.rounds.order import bank_updates, data_for, describe, named, unfinished_cursor
from zo_runtime.scoring.protocol import Scorer
from zo_runtime.storage.open import open_store
from zo_runtime.storage.protocol import ObjectStore
from zo_runtime.telemetry.metrics import MetricsObserver, RunMetrics
from zo_runtime.telemetry.observer import Observer, Observers
from zo_runtime.telemetry.server import TelemetryServer
from zo_runtime.telemetry.tracker import ProgressTracker
from zo_runtime.train import Conclude, Ending, Training
from zo_runtime.workers.leader import SharedScorer
from zo_runtime.workers.membership import Membership
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.method import Update


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether SIGTERM or SIGINT came. A second one ends the process at once."""
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        asked.append(number)
        signal.signal(number, signal.SIG_DFL)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Job:
    """A manifest on its way to a result."""

    def __init__(
        self,
        document: Document,
        base: BaseModel,
        stop_requested: Callable[[], bool],
        place: Membership | None = None,
        observers: Sequence[Observer] = (),
    ):
        """`place` is the leader's among several workers; None where it works alone. `observers` are told of the run
        beside those that every run has."""
        self._document, self._spec, self._base = document, document.spec, base
        self._stop_requested, self._place = stop_requested, place
        self._start = time.monotonic()
        total = self._spec.optimizer.steps
        self._metrics = RunMetrics(document.metadata.name)
        self._metrics.set_total_steps(total)
        self._tracker = ProgressTracker(Progress(total_steps=total, log_uri=self._spec.storage.uri))
        self._console = ConsoleObserver(self._tracker.snapshot)
        self._observer = Observers(self._tracker, MetricsObserver(self._metrics), self._console, *observers)

    def run(self) -> Result:
        """Run to the end. Errors of `zo_runtime.errors` pass through; `/metrics` and `/progress` are served
        meanwhile."""
        spec = self._spec
        with ExitStack() as stack:
            telemetry = spec.metrics
            stack.enter_context(
                TelemetryServer(telemetry.host, telemetry.port, self._metrics, self._tracker.snapshot)
            )
            stack.enter_context(self._console)
            try:
                return self._run(stack)
            except ZOError:
                self._observer.on_phase("Failed")
                raise

    def _run(self, stack: ExitStack) -> Result:
        spec = self._spec
        self._observer.on_phase("Loading")
        store = open_store(spec.storage.uri, spec.storage.s3)
        inputs, log = self._open_round(store, stack) if self._document.round else self._open(store, stack)
        dataset = inputs.dataset
        self._observer.on_message(f"{len(dataset.train)} examples to learn from, {len(dataset.held_out)} held out")
        self._keep_quarantine(store, dataset)
        training = self._prepare(inputs, log, stack)
        self._observer.on_phase("Training")
        ending = training.run()
        if isinstance(training.scorer, SharedScorer):
            training.scorer.dismiss()
        self._observer.on_phase("Finished")
        return self._result(log, training, ending)

    def _open(self, store: ObjectStore, stack: ExitStack) -> tuple[Inputs, LogWriter]:
        """All of the data, and the log."""
        inputs = Inputs.read(self._document, self._base)
        return inputs, stack.enter_context(LogWriter.open(store, inputs.run, data_digest=inputs.dataset.digest))

    def _open_round(self, store: ObjectStore, stack: ExitStack) -> tuple[Inputs, LogWriter]:
        """The log in the ordered round, and the data that the round learns from, which only the log tells."""
        spec, order = self._spec, self._document.round
        assert order is not None
        run = run_info(self._document, self._base)
        log = stack.enter_context(LogWriter.open(store, run, data_digest=None))
        listed = data_for(spec, order, log, store)
        inputs = Inputs.read(self._document, self._base, listed, run)
        log.begin_round(listed, inputs.dataset.digest, unfinished_cursor(spec, log))
        self._observer.on_message(describe(listed))
        return inputs, log

    def _keep_quarantine(self, store: ObjectStore, dataset: Dataset) -> None:
        """Set the records that do not fit beside the log, where their owner finds them."""
        counts = dataset.quarantine.counts
        self._observer.on_quarantine(counts)
        if counts:
            put_quarantine(store, dataset.quarantine.to_json_lines())

    def _prepare(self, inputs: Inputs, log: LogWriter, stack: ExitStack) -> Training:
        spec = self._spec
        self._observer.on_message(f"loading {spec.model.name} into vLLM")
        scorer = self._scorer(inputs)
        stack.callback(scorer.close)
        present = list(log.updates())
        bank = self._restore(log, inputs, present)
        return Training(
            optimizer=spec.optimizer,
            evaluation=spec.evaluation,
            flush=spec.storage.flush,
            train=inputs.dataset.train,
            held_out=inputs.held_out,
            order=inputs.order,
            bank=bank,
            scorer=scorer,
            log=log,
            observer=self._observer,
            stop_requested=self._stop_requested,
            origin=inputs.origin,
            round=log.head.round,
            conclude=self._gate(log, inputs, scorer, present),
            accelerators=self._base.accelerators() * (self._place.size if self._place else 1),
            begun=self._start,
        )

    def _gate(self, log: LogWriter, inputs: Inputs, scorer: Scorer, present: list[Update]) -> Conclude | None:
        """Bring the scorer to the log's head, past what is served if there is a gate.

        Return what judges the last state; none where nothing does, or has done already.
        """
        gate, order = self._spec.gate, self._document.round
        over = any(version.verdict for version in _versions(log))
        if gate is None or over:
            scorer.apply(present)
            return None if order is None or over else lambda judged, step: UNGATED
        exam = Exam(gate, *inputs.sets, seed=inputs.method.seed)
        reference = order.served if order else None
        self._observer.on_phase("Evaluating")
        self._observer.on_message(f"scoring what is served, {named(reference)}, on {exam.describe()}")
        judge = judge_after(exam, scorer, bank_updates(log, reference), present)
        return lambda judged, step: judge.verdict(scorer, judged, step)

    def _scorer(self, inputs: Inputs) -> Scorer:
        """The engine of this machine, together with those of the followers if there are any."""
        local = self._base.start(inputs.layout, inputs.method)
        if self._place is None:
            return local
        from zo_runtime.workers.gloo import LeaderRendezvous  # noqa: PLC0415 - the engine has loaded torch by now

        notify = self._observer.on_message
        place = self._place
        meeting = LeaderRendezvous(place.port, place.size, self._stop_requested, notify, place.going_on)
        return SharedScorer(
            local,
            inputs.method.directions,
            meeting.meet,
            inputs.fingerprint(),
            notify,
            sets=inputs.sets,
            someone_waits=meeting.someone_waits,
        )

    def _restore(self, log: LogWriter, inputs: Inputs, present: list[Update]) -> Bank:
        """Bring a fresh bank to the log's head by the updates that lead there."""
        bank, origin = Bank(inputs.layout, inputs.method), inputs.origin
        for version in _versions(log):
            evaluation, done = _evaluated(version), version.last_step - origin
            self._tracker.on_evaluation(
                EvaluationRecord(done, evaluation.loss, evaluation.accuracy, evaluation.examples, 0.0)
            )
            self._tracker.on_publish(PublishRecord(version.number, version.last_step, version.digest))
        if log.step:
            if log.step > origin:
                self._observer.on_message(f"resuming after step {log.step - origin}")
            bank.apply(present)
            self._tracker.on_flush(FlushRecord(log.step, 0, log.head.digest, log.total_bytes, log.step - origin))
        if bank.digest() != log.head.digest:
            raise LogCorrupt(
                f"{self._spec.storage.uri}: replaying {log.step} steps gives the bank {bank.digest()}, the log says "
                f"{log.head.digest}: find the damaged object with `zo verify`"
            )
        return bank

    def _result(self, log: LogWriter, training: Training, ending: Ending) -> Result:
        versions = training.versions()
        newest, first, last = versions[-1], _evaluated(versions[0]), _evaluated(versions[-1])
        verdict = newest.verdict
        rejected = verdict is not None and not verdict.accepted
        return Result(
            ok=True,
            reason="Rejected" if rejected else ending,
            message=f"{training.done} steps, version {newest.number}",
            steps=training.done,
            seconds=round(time.monotonic() - self._start, 3),
            accuracy_before=first.accuracy,
            accuracy_after=last.accuracy,
            loss_before=first.loss,
            loss_after=last.loss,
            log_uri=self._spec.storage.uri,
            version=newest.number,
            version_sha256=log.version_sha256,
            digest=log.head.digest,
            bytes_per_step=round(log.total_bytes / log.step, 2),
            quarantined=self._tracker.snapshot().quarantined,
            round=training.round,
            verdict=verdict,
        )


def _versions(log: LogWriter) -> list[Version]:
    """The versions of the round that the log is in, or of the run where there are no rounds."""
    return [version for version in log.versions if version.round == log.head.round]


def _evaluated(version: Version) -> Evaluation:
    if version.evaluation is None:  # only another program's version has none
        raise LogCorrupt(f"version {version.number} has no evaluation: find the damaged object with `zo verify`")
    return version.evaluation
