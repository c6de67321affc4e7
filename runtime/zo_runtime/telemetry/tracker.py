"""Keeps the `Progress` of a run up to date: what `/progress` serves and the console shows."""

from __future__ import annotations

import math
import statistics
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from zo_runtime.progress import Phase, Progress
from zo_runtime.records import EvaluationRecord, FlushRecord, PublishRecord, StepRecord
from zo_runtime.rounds.contract import Verdict

RECENT_STEPS = 50


class ProgressTracker:
    """An observer that folds the events into one `Progress`. One thread reports, any thread may read.

    The time that remains is the median of the last `RECENT_STEPS` steps times the steps left: evaluations and
    flushes come on top.
    """

    def __init__(self, start: Progress) -> None:
        """`start` carries what is known before the first event: total steps, the log's URI, and after a resume
        the step, the version and the accuracy before training."""
        self._progress = start
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT_STEPS)
        self._lock = threading.Lock()

    def snapshot(self) -> Progress:
        """The progress at this moment; immutable."""
        with self._lock:
            return self._progress

    def _update(self, **changes: Any) -> None:
        with self._lock:
            self._progress = self._progress.model_copy(update=changes)

    def on_phase(self, phase: Phase) -> None:
        over = phase in {"Finished", "Failed"}
        self._update(phase=phase, **({"eta_seconds": None} if over else {}))

    def on_step(self, record: StepRecord) -> None:
        self._recent.append((record.seconds, record.tokens))
        median = statistics.median(seconds for seconds, _ in self._recent)
        elapsed = math.fsum(seconds for seconds, _ in self._recent)
        left = max(0, self.snapshot().total_steps - record.step)
        self._update(
            step=record.step,
            loss=record.loss,
            step_seconds=median,
            eta_seconds=median * left,
            tokens_per_second=sum(tokens for _, tokens in self._recent) / elapsed if elapsed > 0 else None,
        )

    def on_evaluation(self, record: EvaluationRecord) -> None:
        last = self.snapshot()
        self._update(
            held_out_loss=record.loss,
            accuracy=record.accuracy,
            loss_before=record.loss if last.loss_before is None else last.loss_before,
            accuracy_before=record.accuracy if last.accuracy_before is None else last.accuracy_before,
        )

    def on_flush(self, record: FlushRecord) -> None:
        done = record.step if record.done is None else record.done
        step = max(self.snapshot().step, done)  # what is durable is finished: so after a resume
        self._update(step=step, flushed_step=record.step, digest=record.digest)

    def on_publish(self, record: PublishRecord) -> None:
        self._update(version=record.version)

    def on_verdict(self, verdict: Verdict) -> None:
        """A verdict is part of the result."""

    def on_quarantine(self, counts: Mapping[str, int]) -> None:
        self._update(quarantined=self.snapshot().quarantined + sum(counts.values()))

    def on_message(self, text: str) -> None:
        """Messages are no part of the progress."""
