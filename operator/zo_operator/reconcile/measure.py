"""The measured part of the status: steps, losses, times, as the runtime reports them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Phase, Round, Status
from zo_operator.reconcile.observed import timestamp
from zo_operator.reconcile.view import View, failed_pods
from zo_runtime.progress import Progress

# What holds for the whole round, and so outlives a poll that fails and a pod that is replaced.
_KEPT = (
    "step",
    "total_steps",
    "loss",
    "held_out_loss",
    "loss_before",
    "accuracy_before",
    "accuracy_after",
    "log_uri",
    "flushed_step",
    "version",
    "digest",
    "quarantined",
    "failures",
    "last_failure",
)
# What holds only while the leader runs.
_MOMENTARY = ("stage", "step_seconds", "tokens_per_second", "estimated_completion_time")


def measured(
    old: Status,
    spec: ZOFineTuneSpec,
    current: Round | None,
    view: View,
    phase: Phase,
    now: datetime,
) -> dict[str, Any]:
    """Fields of the new status; those of another round are forgotten."""
    if current is None:
        return {"log_uri": spec.storage.uri}
    same_round = bool(old.rounds) and old.rounds[0].number == current.number
    fields: dict[str, Any] = {"step": 0, "log_uri": spec.storage.uri}
    if same_round:
        kept = _KEPT + (_MOMENTARY if phase == "Running" else ())
        fields |= {name: value for name in kept if (value := getattr(old, name)) is not None}
    fields["total_steps"] = spec.optimizer.steps
    fields["log_uri"] = spec.storage.uri
    if phase == "Running" and view.progress is not None:
        fields |= _reported(view.progress, fields, now)
    if failures := failed_pods(view.job):
        fields["failures"] = failures
    if view.failure is not None:
        fields["last_failure"] = view.failure
    if current.outcome not in (None, "Superseded"):
        fields |= _concluded(current)
    fields["progress"] = f"{min(100, 100 * fields['step'] // max(1, fields['total_steps']))}%"
    fields["start_time"], fields["completion_time"] = current.start_time, current.completion_time
    return {name: _rounded(value) for name, value in fields.items()}


def _reported(progress: Progress, last: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What a pod says. While it loads it does not know the log yet, so its zeros say nothing."""
    if progress.phase in ("Starting", "Loading") and progress.step == 0:
        return {"stage": progress.phase}
    fields: dict[str, Any] = {
        "stage": progress.phase,
        "step": progress.step,
        "loss": progress.loss,
        "held_out_loss": progress.held_out_loss,
        "loss_before": progress.loss_before,
        "accuracy_before": progress.accuracy_before,
        "accuracy_after": progress.accuracy,
        "step_seconds": progress.step_seconds,
        "tokens_per_second": progress.tokens_per_second,
        "flushed_step": progress.flushed_step,
        "version": progress.version,
        "digest": progress.digest,
        "quarantined": progress.quarantined,
    }
    moved = progress.step != last.get("step") or "estimated_completion_time" not in last
    if progress.eta_seconds is not None and moved:
        fields["estimated_completion_time"] = timestamp(now + timedelta(seconds=progress.eta_seconds))
    return {name: value for name, value in fields.items() if value is not None}


def _concluded(current: Round) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "step": current.steps,
        # A scheduled round counts its own steps, and `flushedStep` is the log's.
        "flushed_step": current.steps if current.outcome != "Failed" and current.trigger is None else None,
        "accuracy_before": current.accuracy_before,
        "accuracy_after": current.accuracy_after,
        "held_out_loss": current.loss_after,
        "loss_before": current.loss_before,
        "version": current.version,
        "digest": current.digest,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _rounded(value: Any) -> Any:
    """Six significant digits are what people read, and noise below them is no reason to write."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
