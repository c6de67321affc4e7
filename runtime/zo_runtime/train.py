"""The training loop: draw a batch, score it around the bank, estimate, update, append. Everything else is told to
observers or kept in the log."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from zo_runtime.config.optimizer import Evaluation as EvaluationSpec
from zo_runtime.config.optimizer import Optimizer
from zo_runtime.config.storage import Flush
from zo_runtime.data.batches import BatchOrder
from zo_runtime.data.examples import Example
from zo_runtime.deltalog.documents import Evaluation, Version
from zo_runtime.deltalog.rows import StepRow
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import Diverged, EngineFailed, Interrupted
from zo_runtime.records import EvaluationRecord, FlushRecord, PublishRecord, StepRecord
from zo_runtime.scoring.protocol import Losses, Scorer
from zo_runtime.telemetry.observer import Observer
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.estimator import clip, coefficients, learning_rate, projected_gradient
from zo_runtime.zo.layout import subspace_of
from zo_runtime.zo.method import Update

Ending = Literal["Completed", "EarlyStopped"]


@dataclass(slots=True)
class Training:
    """One run from its last durable step to its end. `bank` and the scorer's replica stand at `log.step`."""

    optimizer: Optimizer
    evaluation: EvaluationSpec
    flush: Flush
    train: list[Example]
    held_out: list[Example]
    order: BatchOrder
    bank: Bank
    scorer: Scorer
    log: LogWriter
    observer: Observer
    stop_requested: Callable[[], bool]
    clock: Callable[[], float] = time.monotonic

    def run(self) -> Ending:
        """Train to the last step, or until the held-out loss stops improving.

        Raises:
            Diverged: a loss is not finite or the held-out loss ran away; the last good version is kept.
            Interrupted: a stop was requested; finished steps are durable.
            EngineFailed: the scorer's replica is not the bank.
        """
        if not self.log.versions:
            self._evaluate_and_publish()
        flushed_at = self.clock()
        if self._has_stopped_improving():
            return "EarlyStopped"
        while self.log.step < self.optimizer.steps:
            if self.stop_requested():
                self._flush()
                raise Interrupted(f"stopped after step {self.log.step}; the same command goes on from there")
            step = self.log.step + 1
            self._step(step)
            if step % self.evaluation.every == 0 or step == self.optimizer.steps:
                self._evaluate_and_publish()
                if self._has_stopped_improving():
                    return "EarlyStopped"
            elif self._flush_is_due(step, flushed_at):
                self._flush()
            else:
                continue
            flushed_at = self.clock()
        return "Completed"

    def _step(self, step: int) -> None:
        start = self.clock()
        losses = self.scorer.score([self.train[i] for i in self.order.indices(step)], step)
        self._require_finite(losses, step)
        update, gradients = self._estimate(losses, step)
        self.scorer.apply([update])
        self.bank.apply([update])
        seconds = self.clock() - start
        row = StepRow(
            step=step,
            loss_plus=losses.plus,
            loss_minus=losses.minus,
            coefficients=update.coefficients,
            learning_rate=update.learning_rate,
            cursor=self.order.cursor(step),
            step_seconds=seconds,
            tokens=losses.tokens,
        )
        self.log.append(row)
        self.observer.on_step(
            StepRecord(
                step=step,
                subspace=subspace_of(step, self.optimizer.interval, self.optimizer.subspaces),
                loss_plus=losses.plus,
                loss_minus=losses.minus,
                projected_gradients=gradients,
                coefficients=update.coefficients,
                learning_rate=update.learning_rate,
                tokens=losses.tokens,
                seconds=seconds,
            )
        )

    def _estimate(self, losses: Losses, step: int) -> tuple[Update, tuple[float, ...]]:
        """From the losses of a step to its update; also the projected gradients before clipping."""
        spec, method = self.optimizer, self.bank.method
        pairs = zip(losses.plus, losses.minus, strict=True)
        gradients = tuple(projected_gradient(plus, minus, method.epsilon) for plus, minus in pairs)
        rate = learning_rate(spec.learning_rate, spec.schedule, step, spec.steps)
        clipped = [clip(g, spec.clip) for g in gradients]
        return Update(step, rate, coefficients(clipped, rate, method.momentum)), gradients

    def _require_finite(self, losses: Losses, step: int) -> None:
        if not all(map(math.isfinite, losses.plus + losses.minus)):
            self._flush()
            raise Diverged(
                f"step {step}: the loss is not finite ({losses.plus} at plus, {losses.minus} at minus); the last "
                f"good version is kept: lower spec.optimizer.learningRate or epsilon, or check the data"
            )

    def _flush_is_due(self, step: int, flushed_at: float) -> bool:
        return (
            step - self.log.head.step >= self.flush.every_steps
            or self.clock() - flushed_at >= self.flush.every_seconds
        )

    def _flush(self) -> None:
        digest = self._agreed_digest()
        info = self.log.flush(digest)
        self.observer.on_flush(FlushRecord(info.step, info.bytes, digest, info.total_bytes))

    def _agreed_digest(self) -> str:
        """The bank's digest, after a check that the engine updates the very same bank."""
        digest, theirs = self.bank.digest(), self.scorer.digest()
        if digest != theirs:
            raise EngineFailed(f"step {self.log.step}: the engine's bank {theirs} is not the trainer's {digest}")
        return digest

    def _evaluate_and_publish(self) -> None:
        self.observer.on_phase("Evaluating")
        start = self.clock()
        scored = self.scorer.evaluate(self.held_out)
        step = self.log.step
        seconds = self.clock() - start
        self.observer.on_evaluation(EvaluationRecord(step, scored.loss, scored.accuracy, scored.examples, seconds))
        self._require_bounded(scored.loss, step)
        evaluation = Evaluation(loss=scored.loss, accuracy=scored.accuracy, examples=scored.examples)
        digest, before = self._agreed_digest(), self.log.total_bytes
        version = self.log.publish(evaluation, self.order.cursor(step + 1), digest)
        total = self.log.total_bytes
        self.observer.on_flush(FlushRecord(step, total - before, digest, total))
        self.observer.on_publish(PublishRecord(version.number, step, digest))
        self.observer.on_phase("Training")

    def _require_bounded(self, loss: float, step: int) -> None:
        """The bound on divergence is relative to the loss before training."""
        evaluations = _evaluations(self.log.versions)
        bound = (1 + self.evaluation.max_loss_increase) * evaluations[0].loss if evaluations else math.inf
        if not math.isfinite(loss) or loss > bound:
            self._flush()
            raise Diverged(
                f"step {step}: the held-out loss {loss:.4g} passed its bound {bound:.4g}; version "
                f"{len(self.log.versions)} is the last good one: lower spec.optimizer.learningRate, or raise "
                f"spec.evaluation.maxLossIncrease"
            )

    def _has_stopped_improving(self) -> bool:
        """Early stopping over the published versions, so that a resumed run decides as an uninterrupted one."""
        rule = self.evaluation.early_stopping
        losses = [e.loss for e in _evaluations(self.log.versions)]
        if rule is None or not losses:
            return False
        best, since = losses[0], 0
        for loss in losses[1:]:
            if loss < best - rule.min_delta:
                best, since = loss, 0
            else:
                since += 1
        return since >= rule.patience


def _evaluations(versions: tuple[Version, ...]) -> list[Evaluation]:
    return [v.evaluation for v in versions if v.evaluation is not None]
