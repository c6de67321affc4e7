"""Events: what changed between the stored status and the new one, told once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zo_operator import conditions
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Status
from zo_operator.reconcile.observed import Emit
from zo_operator.reconcile.rollout_events import Transition, rollout_transitions, since

_MESSAGE_LIMIT = 1024


def events(old: Status, new: Status, spec: ZOFineTuneSpec | None, told: Iterable[Transition] = ()) -> Iterator[Emit]:
    """One event for each transition, and for what the schedule has `told`. The keys depend on both statuses and on
    no clock, so that an operator that died between the event and the status tells it under the same name again."""
    look = () if new.schedule is None else (str(new.schedule.probe),)
    for kind, reason, message in (*told, *_transitions(old, new, spec)):
        number = new.rounds[0].number if new.rounds else 0
        ready = next((c.last_transition_time for c in old.conditions if c.type == conditions.READY), "")
        key = "/".join((str(number), ready, since(old), *look, reason, message))
        yield Emit("Warning" if kind else "Normal", reason, message[:_MESSAGE_LIMIT], key)


def _transitions(old: Status, new: Status, spec: ZOFineTuneSpec | None) -> Iterator[Transition]:
    before, after = old.rounds[:1], new.rounds[:1]
    begun = bool(after) and (not before or before[0].number != after[0].number)
    if begun and after[0].outcome is None:
        why = f" ({after[0].trigger}, {after[0].data_records or 0} fresh records)" if after[0].trigger else ""
        yield False, "RoundStarted", f"round {after[0].number} begins{why}, Job {after[0].job}"
    if new.last_failure is not None and (old.last_failure is None or old.last_failure.pod != new.last_failure.pod):
        failure, limit = new.last_failure, spec.backoff_limit if spec else 0
        code = "" if failure.exit_code is None else f" with exit code {failure.exit_code}"
        # The Job counts a pod a moment after it has ended: none is counted yet for the first.
        count = f" (failures: {new.failures}, {limit} allowed)" if new.failures else ""
        yield True, failure.reason, f"pod {failure.pod} ended{code}{count}: {failure.message}"
    if new.version is not None and new.version != old.version:
        yield False, "VersionPublished", f"version {new.version} at step {new.flushed_step or new.step}"
    yield from _ended(old, new)
    yield from _looks(old, new)
    yield from rollout_transitions(old, new)
    yield from _phase(old, new)


def _ended(old: Status, new: Status) -> Iterator[Transition]:
    """Rounds that have ended. Failed ones are told by the phase."""
    before = {each.number: each.outcome for each in old.rounds}
    for each in new.rounds[:2]:
        if each.outcome is None or before.get(each.number) == each.outcome:
            continue
        if each.outcome == "Completed" and each is new.rounds[0]:
            yield False, each.reason or "Completed", _summary(new)
        elif each.outcome == "Rejected":
            yield True, "Rejected", f"round {each.number}: {each.message or 'its version is not served'}"
        elif each.outcome == "Superseded" and each.reason in ("Skipped", "Replaced"):
            yield False, f"Round{each.reason}", f"round {each.number}: {each.message}"


def _looks(old: Status, new: Status) -> Iterator[Transition]:
    """Looks at the data that failed, each reason once."""
    before = old.schedule.problem if old.schedule is not None else None
    after = new.schedule.problem if new.schedule is not None else None
    if after is not None and (before is None or before.reason != after.reason):
        yield True, after.reason, f"looking at the data: {after.message}"


def _phase(old: Status, new: Status) -> Iterator[tuple[bool, str, str]]:
    ready = {c.type: c for c in new.conditions}[conditions.READY]
    last = next((c for c in old.conditions if c.type == conditions.READY), None)
    said_before = last is not None and last.reason == ready.reason
    if new.phase == "Pending" and not said_before and ready.reason not in (conditions.PENDING, _failure_reason(new)):
        yield True, ready.reason, ready.message
    if new.phase == "Failed" and not (said_before and old.phase == "Failed"):
        yield True, "Failed", f"{ready.reason}: {ready.message}"
    if new.phase == old.phase:
        return
    if new.phase == "Suspended":
        yield False, "Suspended", f"suspended after step {new.step}; {ready.message}"
    elif new.phase in ("Running", "Queued"):
        yield False, new.phase, ready.message
    elif new.phase == "Pending" and old.phase == "Suspended":
        yield False, "Resumed", f"the round goes on after step {new.step}"


def _failure_reason(status: Status) -> str | None:
    return status.last_failure.reason if status.last_failure else None


def _summary(status: Status) -> str:
    parts = [f"{status.step} steps"]
    if status.accuracy_after is not None and status.accuracy_before is not None:
        parts.append(f"held-out accuracy {status.accuracy_before:.4g} to {status.accuracy_after:.4g}")
    elif status.held_out_loss is not None:
        parts.append(f"held-out loss {status.held_out_loss:.4g}")
    if status.version is not None:
        parts.append(f"version {status.version}")
    return ", ".join(parts)
