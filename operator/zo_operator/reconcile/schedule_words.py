"""What is said of a schedule: the condition `FreshData`, and what holds between two rounds."""

from __future__ import annotations

from zo_operator import conditions
from zo_operator.api.schedule import Schedule
from zo_operator.api.schedule_status import ScheduleStatus
from zo_operator.api.status import Round
from zo_operator.conditions import Said, Verdict
from zo_operator.reconcile.looks import changed_words, few_words
from zo_operator.reconcile.schedule import exhausted
from zo_operator.reconcile.situation import Situation, valid
from zo_runtime.rounds.contract import Fresh


def fresh_condition(state: ScheduleStatus, at: Situation) -> Said:
    """The condition `FreshData`: whether there is enough that is new to learn from."""
    trouble = at.look.waiting if at.look is not None and state.probe_start_time is not None else None
    if trouble is not None:
        return "Unknown", trouble.reason, f"the pod that looks at the data does not start: {trouble.message}"
    if state.problem is not None:
        return "Unknown", state.problem.reason, state.problem.message
    fresh = valid(state)
    if fresh is not None:
        if fresh.records < at.fewest:
            reason, few = few_words(fresh, at.fewest)
            return "False", reason, f"{few}; {_found(fresh)}"
        return "True", conditions.FRESH_RECORDS, _found(fresh)
    if at.running and at.head is not None:
        return "Unknown", conditions.LEARNING, f"round {at.head.number} learns from what was fresh"
    return "Unknown", conditions.NOT_PROBED, "the data has not been looked at since the last round"


def _found(fresh: Fresh) -> str:
    parts = [f"{fresh.records} fresh records in {fresh.objects} objects ({fresh.bytes} bytes)"]
    if fresh.oldest is not None:
        parts.append(f"the oldest of {fresh.oldest:%Y-%m-%dT%H:%M:%SZ}")
    if fresh.quarantined:
        parts.append(f"{fresh.quarantined} more cannot be used")
    if fresh.changed_count:
        parts.append(changed_words(fresh))
    if fresh.gone_count:
        parts.append(f"{fresh.gone_count} objects that were learned from are gone")
    return "; ".join(parts)


def between_rounds(schedule: Schedule, state: ScheduleStatus, head: Round | None) -> Verdict:
    """The verdict on a resource that no round runs of. A failed round and a look that cannot succeed need someone;
    the next time or amount of data is tried all the same, as a CronJob does."""
    if state.problem is not None and state.problem.final:
        return Verdict("failed", state.problem.reason, f"looking at the data: {state.problem.message}")
    if head is not None and head.outcome == "Failed":
        return Verdict("failed", head.reason or "Failed", f"round {head.number}: {head.message or 'it failed'}")
    said = _ended(head)
    if exhausted(schedule, state, head):
        return Verdict("completed", conditions.MAX_ROUNDS, f"{said}; maxRounds is {schedule.max_rounds}")
    return Verdict("waiting", conditions.WAITING, f"{said}; {_waits_for(schedule, state)}")


def _ended(head: Round | None) -> str:
    if head is None:
        return "no round yet"
    why = f": {head.message}" if head.message and head.outcome != "Completed" else ""
    version = f" with version {head.version}" if head.outcome == "Completed" and head.version is not None else ""
    return f"round {head.number} {_OUTCOMES.get(head.outcome or '', 'ended')}{version}{why}"


_OUTCOMES = {
    "Completed": "completed",
    "Rejected": "was rejected",
    "RolledBack": "was rolled back",
    "Superseded": "was skipped",
}


def _waits_for(schedule: Schedule, state: ScheduleStatus) -> str:
    if state.pending is not None:
        return f"one is due since {state.pending.time} and waits for a look at the data"
    wishes = []
    if state.next_schedule_time is not None:
        wishes.append(state.next_schedule_time)
    data = schedule.fresh_data
    if data is not None and data.examples is not None:
        wishes.append(f"{data.examples} fresh records")
    if data is not None and data.age_seconds is not None:
        wishes.append(f"fresh data of {data.age_seconds} seconds")
    return "waiting for " + " or ".join(wishes)
