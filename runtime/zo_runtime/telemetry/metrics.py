"""The run's Prometheus metrics. Every one has the label `run`, the resource's name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import choose_encoder

from zo_runtime import __version__
from zo_runtime.progress import Phase
from zo_runtime.records import EvaluationRecord, FlushRecord, PublishRecord, StepRecord
from zo_runtime.rounds.contract import Verdict

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
GRADIENT_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000)


class RunMetrics:
    """One run's metrics in a registry of its own. A value that is not known yet is absent, never 0."""

    def __init__(self, run: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`run` is the resource's name; `clock` counts seconds from any start."""
        self.registry = CollectorRegistry()
        self._run = run
        self._clock = clock
        self._flushed_at = clock()
        self._define_steps()
        self._define_results()

    def _define_steps(self) -> None:
        self._step = self._gauge("zo_step", "Last finished step.")
        self._total_steps = self._gauge("zo_total_steps", "Steps that the run has in all.")
        self._loss = self._gauge("zo_loss", "Mean training loss of the last step at plus and minus, in nats.")
        self._learning_rate = self._gauge("zo_learning_rate", "Learning rate of the last step.")
        self._gradient = self._gauge(
            "zo_projected_gradient", "Projected gradient of the last step, mean over directions."
        )
        self._gradients = self._histogram(
            "zo_projected_gradient_magnitude",
            "Absolute projected gradient of each direction of each step, before clipping.",
            GRADIENT_BUCKETS,
        )
        self._seconds = self._histogram("zo_step_seconds", "Time of one step in seconds.", SECONDS_BUCKETS)
        self._tokens = self._counter("zo_tokens_scored", "Tokens scored in training steps.")
        self._token_rate = self._gauge("zo_tokens_per_second", "Tokens scored per second in the last step.")

    def _define_results(self) -> None:
        self._held_out_loss = self._gauge("zo_held_out_loss", "Held-out loss of the last evaluation, in nats.")
        self._accuracy = self._gauge("zo_held_out_accuracy", "Held-out accuracy of the last evaluation, 0 to 1.")
        self._evaluations = self._counter("zo_evaluations", "Evaluations on the held-out data.")
        self._publishes = self._counter("zo_publishes", "Versions published.")
        self._flushed_step = self._gauge("zo_last_flushed_step", "Last step that is durable in the log.")
        self._log_bytes = self._counter("zo_log_written_bytes", "Bytes written to the log.")
        age = self._gauge(
            "zo_last_flush_age_seconds", "Seconds since the last flush, or since the start before the first."
        )
        age.labels(self._run).set_function(lambda: self._clock() - self._flushed_at)
        self._quarantined = Counter(
            "zo_quarantined_records",
            "Records set aside because they cannot be used, by reason.",
            ("run", "reason"),
            registry=self.registry,
        )
        build = Info("zo_build", "Version of zofinetune.", ("run",), registry=self.registry)
        build.labels(self._run).info({"version": __version__})

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, ("run",), registry=self.registry)

    def _counter(self, name: str, text: str) -> Counter:
        counter = Counter(name, text, ("run",), registry=self.registry)
        counter.labels(self._run)  # a counter that exists from the start has no first increase to miss
        return counter

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        histogram = Histogram(name, text, ("run",), registry=self.registry, buckets=buckets)
        histogram.labels(self._run)
        return histogram

    def set_total_steps(self, total: int) -> None:
        """How many steps the run has in all."""
        self._total_steps.labels(self._run).set(total)

    def add_step(self, record: StepRecord) -> None:
        """Count a finished step."""
        self._step.labels(self._run).set(record.step)
        self._loss.labels(self._run).set(record.loss)
        self._learning_rate.labels(self._run).set(record.learning_rate)
        self._gradient.labels(self._run).set(record.projected_gradient)
        for gradient in filter(math.isfinite, record.projected_gradients):  # a NaN would stay in the sum
            self._gradients.labels(self._run).observe(abs(gradient))
        self._seconds.labels(self._run).observe(record.seconds)
        self._tokens.labels(self._run).inc(record.tokens)
        if record.seconds > 0:
            self._token_rate.labels(self._run).set(record.tokens / record.seconds)

    def add_evaluation(self, record: EvaluationRecord) -> None:
        """Count an evaluation."""
        self._evaluations.labels(self._run).inc()
        self._held_out_loss.labels(self._run).set(record.loss)
        if record.accuracy is not None:
            self._accuracy.labels(self._run).set(record.accuracy)

    def add_flush(self, record: FlushRecord) -> None:
        """Count a flush, and start its age anew."""
        self._flushed_at = self._clock()
        self._flushed_step.labels(self._run).set(record.step)
        self._log_bytes.labels(self._run).inc(record.bytes)

    def add_publish(self) -> None:
        """Count a published version."""
        self._publishes.labels(self._run).inc()

    def add_quarantined(self, counts: Mapping[str, int]) -> None:
        """Count records that were set aside, by kind of reason."""
        for reason, count in counts.items():
            self._quarantined.labels(self._run, reason).inc(count)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """The metrics as text and its content type: OpenMetrics where the `Accept` header asks for it, else
        Prometheus' own format, which also answers a header that makes no sense."""
        try:
            # The content type repeats the client's words, so what could end a header line goes first.
            encode, content_type = choose_encoder(" ".join(accept.split()))
        except (TypeError, ValueError):  # versions that prometheus_client cannot compare
            encode, content_type = choose_encoder("")
        return encode(self.registry), content_type


class MetricsObserver:
    """Feeds a run's events into its metrics."""

    def __init__(self, metrics: RunMetrics) -> None:
        self._metrics = metrics

    def on_phase(self, phase: Phase) -> None:
        """Phases are served by `/progress`."""

    def on_step(self, record: StepRecord) -> None:
        self._metrics.add_step(record)

    def on_evaluation(self, record: EvaluationRecord) -> None:
        self._metrics.add_evaluation(record)

    def on_flush(self, record: FlushRecord) -> None:
        self._metrics.add_flush(record)

    def on_publish(self, record: PublishRecord) -> None:
        self._metrics.add_publish()

    def on_verdict(self, verdict: Verdict) -> None:
        """The operator's metrics have it: this process ends before it could be scraped once more."""

    def on_quarantine(self, counts: Mapping[str, int]) -> None:
        self._metrics.add_quarantined(counts)

    def on_message(self, text: str) -> None:
        """Messages are for people."""
