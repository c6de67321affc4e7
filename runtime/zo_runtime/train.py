"""The training loop: draw a batch, score it around the bank, estimate, update, append. Everything else is told to
observers or kept in the log."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from zo_runtime.config.optimizer import Evaluation as EvaluationSpec
from zo_runtime.config.optimizer import Optimizer
from zo_runtime.config.storage import Flush
from zo_runtime.data.batches import BatchOrder
from zo_runtime.data.examples import Example
from zo_runtime.deltalog.documents import Cost, Evaluation, Version
from zo_runtime.deltalog.rows import StepRow
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import Diverged, EngineFailed, Interrupted
from zo_runtime.records import EvaluationRecord, FlushRecord, PublishRecord, StepRecord
from zo_runtime.rounds.contract import Verdict
from zo_runtime.scoring.plan import evaluation
from zo_runtime.scoring.protocol import Judged, Losses, Scorer
from zo_runtime.telemetry.observer import Observer
from zo_runtime.zo.background import Behind
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.estimator import clip, coefficients, learning_rate, projected_gradient
from zo_runtime.zo.layout import subspace_of
from zo_runtime.zo.method import Update

Ending = Literal["Completed", "EarlyStopped"]
Conclude = Callable[[Sequence[Judged], int], Verdict]
"""From the scores of the held-out examples at the candidate, and its step in the log, to the gate's verdict."""


@dataclass(slots=True)
class Training:
    """One run, or one round of it, from its last durable step to its end. `bank` and the scorer's replica stand at
    the log's head; from then on the bank follows beside the scoring of the next step."""

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
    origin: int = 0
    """Steps of the log before the first one of this round. Batches, schedule, evaluations and the end count from
    there; directions, versions and durable steps count in the log, so that none ever comes twice."""
    round: int | None = None
    """Number of the round; none for a run without rounds."""
    conclude: Conclude | None = None
    """Judges the last state of a round, before its version is published."""
    accelerators: int = 0
    """GPUs that all workers together hold."""
    begun: float = field(default_factory=time.monotonic)
    """When the process began, or published last, by `clock`."""
    clock: Callable[[], float] = time.monotonic
    _behind: Behind = field(init=False)

    def __post_init__(self) -> None:
        self._behind = Behind(self.bank)

    def run(self) -> Ending:
        """Train to the last step, or until the held-out loss stops improving.

        Raises:
            Diverged: a loss is not finite or the held-out loss ran away; the last good version is kept.
            Interrupted: a stop was requested; finished steps are durable.
            EngineFailed: the scorer's replica is not the bank.
        """
        if not self.versions():
            self._evaluate_and_publish()
        flushed_at = self.clock()
        stopped = self._has_stopped_improving(self._losses())
        while self.done < self.optimizer.steps and not stopped:
            if self.stop_requested():
                self._flush()
                raise Interrupted(f"stopped after step {self.done}; the same command goes on from there")
            self._step(self.log.step + 1)
            if self.done % self.evaluation.every == 0 or self.done == self.optimizer.steps:
                self._evaluate_and_publish()
                stopped = self._has_stopped_improving(self._losses())
            elif self._flush_is_due(self.log.step, flushed_at):
                self._flush()
            else:
                continue
            flushed_at = self.clock()
        last = self.versions()[-1]
        if last.last_step < self.log.step or (self.conclude is not None and last.verdict is None):
            self._evaluate_and_publish()  # an earlier process came this far and no further
        return "EarlyStopped" if stopped else "Completed"

    @property
    def done(self) -> int:
        """Finished steps of this round."""
        return self.log.step - self.origin

    def versions(self) -> tuple[Version, ...]:
        """The versions of this round, oldest first."""
        return tuple(version for version in self.log.versions if version.round == self.round)

    def _step(self, step: int) -> None:
        """Make the step of that number in the log."""
        start, number = self.clock(), step - self.origin
        losses = self.scorer.score([self.train[i] for i in self.order.indices(number)], step)
        self._require_finite(losses, step)
        update, gradients = self._estimate(losses, step)
        self.scorer.apply([update])
        self._behind.apply(update)
        seconds = self.clock() - start
        row = StepRow(
            step=step,
            loss_plus=losses.plus,
            loss_minus=losses.minus,
            coefficients=update.coefficients,
            learning_rate=update.learning_rate,
            cursor=self.order.cursor(number),
            step_seconds=seconds,
            tokens=losses.tokens,
        )
        self.log.append(row)
        self.observer.on_step(
            StepRecord(
                step=number,
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
        rate = learning_rate(spec.learning_rate, spec.schedule, step - self.origin, spec.steps)
        clipped = [clip(g, spec.clip) for g in gradients]
        after = None if self._behind.step == step - 1 else self._behind.step
        return Update(step, rate, coefficients(clipped, rate, method.momentum), after), gradients

    def _require_finite(self, losses: Losses, step: int) -> None:
        if not all(map(math.isfinite, losses.plus + losses.minus)):
            self._flush()
            raise Diverged(
                f"step {step - self.origin}: the loss is not finite ({losses.plus} at plus, {losses.minus} at minus);"
                " the last good version is kept: lower spec.optimizer.learningRate or epsilon, or check the data"
            )

    def _flush_is_due(self, step: int, flushed_at: float) -> bool:
        return (
            step - self.log.head.step >= self.flush.every_steps
            or self.clock() - flushed_at >= self.flush.every_seconds
        )

    def _flush(self) -> None:
        digest = self._agreed_digest()
        info = self.log.flush(digest)
        self.observer.on_flush(FlushRecord(info.step, info.bytes, digest, info.total_bytes, self.done))

    def _agreed_digest(self) -> str:
        """The bank's digest, after a check that the engine updates the very same bank."""
        digest, theirs = self._behind.settle().digest(), self.scorer.digest()
        if digest != theirs:
            raise EngineFailed(f"step {self.log.step}: the engine's bank {theirs} is not the trainer's {digest}")
        return digest

    def _evaluate_and_publish(self) -> None:
        self.observer.on_phase("Evaluating")
        start = self.clock()
        judged = self.scorer.judge(self.held_out)
        scored = evaluation(judged)
        step, done = self.log.step, self.done
        seconds = self.clock() - start
        self.observer.on_evaluation(EvaluationRecord(done, scored.loss, scored.accuracy, scored.examples, seconds))
        self._require_bounded(scored.loss, done)
        said = Evaluation(loss=scored.loss, accuracy=scored.accuracy, examples=scored.examples)
        verdict = self._verdict(judged, scored.loss)
        digest, before = self._agreed_digest(), self.log.total_bytes
        version = self.log.publish(said, self.order.cursor(done + 1), digest, verdict, self._cost())
        total = self.log.total_bytes
        self.observer.on_flush(FlushRecord(step, total - before, digest, total, done))
        self.observer.on_publish(PublishRecord(version.number, step, digest))
        self.observer.on_phase("Training")

    def _cost(self) -> Cost | None:
        """What a round spent since its newest version; a run without rounds keeps no account."""
        now = self.clock()
        spent, self.begun = now - self.begun, now
        return None if self.round is None else Cost(seconds=round(spent, 3), accelerators=self.accelerators)

    def _verdict(self, judged: Sequence[Judged], loss: float) -> Verdict | None:
        """What the gate says of the last state of a round; nothing of any other one."""
        is_last = self.done >= self.optimizer.steps or self._has_stopped_improving([*self._losses(), loss])
        if self.conclude is None or not is_last:
            return None
        verdict = self.conclude(judged, self.log.step)
        self.observer.on_verdict(verdict)
        return verdict

    def _require_bounded(self, loss: float, step: int) -> None:
        """The bound on divergence is relative to the loss before training."""
        losses = self._losses()
        bound = (1 + self.evaluation.max_loss_increase) * losses[0] if losses else math.inf
        if not math.isfinite(loss) or loss > bound:
            self._flush()
            raise Diverged(
                f"step {step}: the held-out loss {loss:.4g} passed its bound {bound:.4g}; version "
                f"{len(self.log.versions)} is the last good one: lower spec.optimizer.learningRate, or raise "
                f"spec.evaluation.maxLossIncrease"
            )

    def _losses(self) -> list[float]:
        """Held-out losses of the published versions, so that a resumed run decides as an uninterrupted one."""
        return [v.evaluation.loss for v in self.versions() if v.evaluation is not None]

    def _has_stopped_improving(self, losses: Sequence[float]) -> bool:
        """Early stopping over the evaluations so far."""
        rule = self.evaluation.early_stopping
        if rule is None or not losses:
            return False
        best, since = losses[0], 0
        for loss in losses[1:]:
            if loss < best - rule.min_delta:
                best, since = loss, 0
            else:
                since += 1
        return since >= rule.patience
