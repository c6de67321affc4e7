"""How a round ended: from the Job's end and the runtime's own account to the round's record."""

from __future__ import annotations

from zo_operator.api.status import Outcome, Round, Status
from zo_operator.reconcile.view import JobEnd, View, failed_pods
from zo_runtime.progress import Result

# Reasons of a Job that say more than its last pod can.
_JOBS_OWN = frozenset({"DeadlineExceeded"})


def conclude(current: Round, view: View, end: JobEnd, last: Status, now: str) -> Round:
    """The current round with its outcome. Where the runtime left no account, the last progress stands in."""
    told = view.result if view.result is not None and view.result.ok == end.succeeded else None
    reason, message = _completed(told) if end.succeeded else _failed(view, end, told)
    fields: dict[str, object] = {
        "outcome": _outcome(told) if end.succeeded else "Failed",
        "reason": reason,
        "message": message or None,
        "completion_time": end.time or now,
        "steps": last.step,
        "accuracy_before": last.accuracy_before,
        "accuracy_after": last.accuracy_after,
        "loss_after": last.held_out_loss,
        "version": last.version,
        "digest": last.digest,
        "log_uri": (told.log_uri if told is not None else "") or last.log_uri,
    }
    if told is not None:
        account = {name: getattr(told, name) for name in _FROM_RESULT}
        fields |= {name: value for name, value in account.items() if value is not None}
        if not end.succeeded and told.steps == 0:
            fields["steps"] = last.step
    return current.model_copy(update=fields)


_FROM_RESULT = (
    "steps",
    "seconds",
    "accuracy_before",
    "accuracy_after",
    "loss_before",
    "loss_after",
    "version",
    "version_sha256",
    "digest",
    "verdict",
)


def _outcome(told: Result | None) -> Outcome:
    """What became of a round whose Job succeeded: a version that the gate did not let through is never served."""
    rejected = told is not None and told.verdict is not None and not told.verdict.accepted
    return "Rejected" if rejected else "Completed"


def _completed(told: Result | None) -> tuple[str, str]:
    if told is None:
        return "Completed", ""
    rejected = told.verdict is not None and not told.verdict.accepted
    return told.reason, (told.verdict.message if rejected and told.verdict else "") or told.message


def _failed(view: View, end: JobEnd, told: Result | None) -> tuple[str, str]:
    if end.reason in _JOBS_OWN:
        return end.reason, end.message
    count = failed_pods(view.job)
    after = f" (after {count} failures)" if end.reason == "BackoffLimitExceeded" and count > 1 else ""
    if view.failure is not None:
        return view.failure.reason, view.failure.message + after
    if told is not None:
        return told.reason, told.message + after
    return end.reason, end.message
