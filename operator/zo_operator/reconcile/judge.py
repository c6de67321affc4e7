"""What is to be said of a resource: one verdict for the conditions, one word for the phase."""

from __future__ import annotations

from zo_operator import conditions
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Phase, Round
from zo_operator.conditions import Verdict
from zo_operator.reconcile import pods as podfacts
from zo_operator.reconcile.goal import REQUESTED
from zo_operator.reconcile.observed import Observed, Refusal
from zo_operator.reconcile.view import View, is_suspended


def judge(
    spec: ZOFineTuneSpec, current: Round | None, view: View, observed: Observed, idle: Verdict | None
) -> tuple[Verdict, Phase]:
    """The verdict on a resource whose spec is valid. The first of these that applies is what users see; `idle` is
    what a schedule says between two rounds."""
    if observed.refusal is not None:
        return refused(observed.refusal)
    if idle is not None and (current is None or current.outcome is not None):
        return _between(spec, view, idle)
    if current is not None and current.outcome is not None:
        return _ended(current)
    if spec.suspend:
        return _suspended(view)
    return _going(spec, view)


def invalid(message: str) -> tuple[Verdict, Phase]:
    """The verdict on a spec that the schema let through and the models refuse."""
    return Verdict("failed", conditions.INVALID_SPEC, message), "Failed"


def refused(refusal: Refusal) -> tuple[Verdict, Phase]:
    """The verdict when the API server does not take a child."""
    message = f"{refusal.action}: {refusal.message}"
    if refusal.final:
        return Verdict("failed", refusal.reason, message), "Failed"
    return Verdict("progressing", refusal.reason, message), "Pending"


def _between(spec: ZOFineTuneSpec, view: View, idle: Verdict) -> tuple[Verdict, Phase]:
    if not view.stopped:
        return _suspended(view) if spec.suspend else _stopping()
    if spec.suspend:  # the Job of the round that has ended may stay, and is not suspended
        return Verdict("suspended", conditions.SUSPENDED, "no round begins meanwhile"), "Suspended"
    phases: dict[str, Phase] = {"failed": "Failed", "completed": "Succeeded"}
    return idle, phases.get(idle.kind, "Waiting")


def _ended(current: Round) -> tuple[Verdict, Phase]:
    done = current.outcome in ("Completed", "Rejected")
    if done or (current.outcome, current.reason) == ("RolledBack", REQUESTED):
        message = current.message or "the round is complete"
        return Verdict("completed", current.reason or "Completed", message), "Succeeded"
    return Verdict("failed", current.reason or "Failed", current.message or ""), "Failed"


def _suspended(view: View) -> tuple[Verdict, Phase]:
    if view.stopped and (view.job is None or is_suspended(view.job)):
        return Verdict("suspended", conditions.SUSPENDED, "finished steps are in the log"), "Suspended"
    return Verdict(
        "suspending", conditions.SUSPENDING, "the pods are writing their last steps to the log"
    ), "Stopping"


def _going(spec: ZOFineTuneSpec, view: View) -> tuple[Verdict, Phase]:
    if view.blocked or view.job_deleting:
        return _stopping()
    if spec.queue_name and (view.job is None or is_suspended(view.job)):
        message = f"waiting for Kueue to admit the Job from the queue {spec.queue_name}"
        return Verdict("progressing", conditions.QUEUED, message), "Queued"
    if podfacts.running(view.leader):
        return Verdict("progressing", "Running", "the leader pod runs"), "Running"
    return _pending(view), "Pending"


def _stopping() -> tuple[Verdict, Phase]:
    message = "pods of an earlier Job are still stopping; the log has one writer at a time"
    return Verdict("progressing", conditions.STOPPING_PREVIOUS, message), "Stopping"


def _pending(view: View) -> Verdict:
    if view.waiting is not None:
        return Verdict("progressing", view.waiting.reason, view.waiting.message)
    if view.failure is not None:
        message = f"pod {view.failure.pod} failed and is tried again: {view.failure.message}"
        return Verdict("progressing", view.failure.reason, message)
    return Verdict("progressing", conditions.PENDING, "the pods have not started yet")
