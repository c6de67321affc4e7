"""When rounds begin by themselves: pure steps on `status.schedule`.

A round is asked for by a time of `cron`, by the amount or age of fresh data, or by hand; a look at the data then
decides. Nothing is remembered but the status. Looks are told apart by number and not by time, so that a clock that
goes back asks for no look twice in a row and skips none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from zo_operator.api.schedule import FreshData, Schedule
from zo_operator.api.schedule_status import PendingRound, ScheduleStatus, Trigger
from zo_operator.api.status import Round
from zo_operator.reconcile.looks import absorb, few_words, look_again
from zo_operator.reconcile.observed import parse_time, timestamp
from zo_operator.reconcile.rollout_events import Transition
from zo_operator.reconcile.situation import Situation, answered, changed, pause, valid
from zo_operator.reconcile.ticks import late, tick
from zo_runtime.rounds.contract import Fresh

# After a round that failed.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=5), timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Step:
    """What the schedule wants. `begin` is a round to begin now and `skip` says that it is to be skipped at once;
    `again` is when time alone changes something, in seconds."""

    status: ScheduleStatus
    begin: Trigger | None = None
    skip: bool = False
    told: tuple[Transition, ...] = ()
    again: float | None = None


def next_number(state: ScheduleStatus, head: Round | None) -> int:
    """The number of the next round. The log may know of rounds that this resource has never had."""
    return 1 + max(head.number if head is not None else 0, state.log_round or 0)


def exhausted(schedule: Schedule, state: ScheduleStatus, head: Round | None) -> bool:
    """Whether no further round begins by itself."""
    return schedule.max_rounds is not None and next_number(state, head) > schedule.max_rounds


def advance(schedule: Schedule, old: ScheduleStatus | None, at: Situation) -> Step:
    """The schedule's next state."""
    state = old if old is not None else ScheduleStatus(restart=at.restart or None)
    told: list[Transition] = []
    state = _read_skip(_after_rounds(state, at), at, told)
    if at.suspended or exhausted(schedule, state, at.head):
        return Step(_idle(state), told=tuple(told))
    if at.running and schedule.concurrency_policy == "Forbid":
        state = changed(state, probe_start_time=None, pending=None, restart=at.restart or None)
        return Step(tick(schedule, state, at, told, act=False), told=tuple(told))
    state = absorb(state, at, told)
    if exhausted(schedule, state, at.head):
        return Step(_idle(state), told=tuple(told))
    state = tick(schedule, state, at, told, act=not at.canary)
    state = _by_hand(state, at)
    state = _expire(schedule, state, at, told)
    state, trigger = _decide(schedule, state, at, told)
    if trigger is not None:
        skip = next_number(state, at.head) in skipped(schedule, at.skip)
        return Step(changed(state, pending=None, probe_start_time=None, stale=True), trigger, skip, tuple(told))
    waits: list[float] = []
    if not _just_ended(old, state):
        state, waits = look_again(schedule, state, at)
    if not at.canary:
        waits += _due(schedule, state, at)
    return Step(state, told=tuple(told), again=min((wait for wait in waits if wait > 0), default=None))


def _just_ended(old: ScheduleStatus | None, state: ScheduleStatus) -> bool:
    """Whether a look has just been taken in. The next one removes its Job, and with it what it found, so that has to
    be stored first."""
    return old is not None and old.probe_start_time is not None and state.probe_start_time is None


def skipped(schedule: Schedule, annotation: str) -> set[int | None]:
    """Numbers of rounds that are not to be."""
    return {schedule.skip_round, _number(annotation)} - {None}


def _number(annotation: str) -> int | None:
    return int(annotation) if annotation.isascii() and annotation.isdigit() else None


def _read_skip(state: ScheduleStatus, at: Situation, told: list[Transition]) -> ScheduleStatus:
    """Say of an annotation that names no round to skip that it does not, once."""
    if (at.skip or None) == state.skip:
        return state
    number, following = _number(at.skip), next_number(state, at.head)
    if at.skip and not number:
        told.append((True, "SkipIgnored", f"zofinetune.io/skip-round: `{at.skip}` is no number of a round: give one"))
    elif number is not None and number < following and (at.head is None or at.head.number != number):
        words = f"zofinetune.io/skip-round: round {number} is over: the next one is {following}"
        told.append((True, "SkipIgnored", words))
    return changed(state, skip=at.skip or None)


def _idle(state: ScheduleStatus) -> ScheduleStatus:
    """Nothing is waited for. Times of `cron` that pass meanwhile are not caught up."""
    return changed(state, next_schedule_time=None, pending=None, probe_start_time=None)


def _after_rounds(state: ScheduleStatus, at: Situation) -> ScheduleStatus:
    """Count failures, and distrust what was found before a round began or ended, or in other data."""
    before, after = at.stored_head, at.head
    if after is not None and before != after and _begun_or_ended(before, after):
        failures = state.failures
        if after.outcome == "Failed":
            failures = (failures or 0) + 1
        elif after.outcome not in (None, "Superseded"):
            failures = None
        state = changed(state, failures=failures, stale=True, probe_start_time=None)
    if state.hash != at.content:
        stale = True if state.fresh is not None else state.stale
        state = changed(state, hash=at.content, stale=stale, log_round=None, log_version=None)
    return state


def _begun_or_ended(before: Round | None, after: Round) -> bool:
    return before is None or (before.number, before.outcome is None) != (after.number, after.outcome is None)


# -- what asks for a round


def _by_hand(state: ScheduleStatus, at: Situation) -> ScheduleStatus:
    """Another value of the annotation `restart` asks for a round; it replaces one that runs in any case."""
    if (at.restart or None) == state.restart:
        return state
    state = changed(state, restart=at.restart or None)
    if at.running or not at.restart or state.pending is not None:
        return state
    return changed(state, pending=PendingRound(trigger="Manual", time=timestamp(at.now), probe=state.probe))


def _expire(schedule: Schedule, state: ScheduleStatus, at: Situation, told: list[Transition]) -> ScheduleStatus:
    """Give up a time of `cron` for which no look at the data has succeeded by the deadline."""
    pending = state.pending
    if pending is None or pending.trigger != "Cron" or state.problem is None or state.probe_start_time is not None:
        return state
    if not late(schedule, parse_time(pending.time), at.now):
        return state
    words = f"no round begins for {pending.time}: no look at the data succeeded by startingDeadlineSeconds"
    told.append((True, "MissedSchedule", words))
    return changed(state, pending=None)


# -- what begins one


def _decide(
    schedule: Schedule, state: ScheduleStatus, at: Situation, told: list[Transition]
) -> tuple[ScheduleStatus, Trigger | None]:
    """Begin a round if one is due and there is anything to learn from."""
    fresh = valid(state)
    if fresh is None or at.canary:
        return state, None
    pending = state.pending
    if pending is not None and answered(state, pending):
        if fresh.records >= at.fewest:
            return state, pending.trigger
        reason, few = few_words(fresh, at.fewest)
        told.append((False, reason, f"no round begins for {pending.time}: {few}"))
        state = changed(state, pending=None)
    data = schedule.fresh_data
    if data is None or fresh.records < at.fewest or at.now < _held_until(state, at):
        return state, None
    enough = data.examples is not None and fresh.records - _counted_before(at) >= data.examples
    return state, "FreshData" if enough or _old_enough(data, fresh, at) else None


def _counted_before(at: Situation) -> int:
    """Fresh records that ask for nothing new: those of the round that runs, or that was skipped."""
    head = at.head
    return (head.data_records or 0) if head is not None and (at.running or head.outcome == "Superseded") else 0


def _old_enough(data: FreshData, fresh: Fresh, at: Situation) -> bool:
    since = _oldest(fresh, at)
    if data.age_seconds is None or since is None or at.running:
        return False
    return at.now - since >= timedelta(seconds=data.age_seconds)


def _oldest(fresh: Fresh, at: Situation) -> datetime | None:
    """Since when data waits: that of a skipped round waits anew."""
    head = at.head
    if fresh.oldest is None or head is None or head.outcome != "Superseded" or head.completion_time is None:
        return fresh.oldest
    return max(fresh.oldest, parse_time(head.completion_time))


def _held_until(state: ScheduleStatus, at: Situation) -> datetime:
    """After a failed round its data is fresh again and would begin the next at once."""
    head = at.head
    if head is None or head.outcome != "Failed" or head.completion_time is None:
        return at.now
    ended = min(parse_time(head.completion_time), at.now)
    return ended + pause(FIRST_PAUSE, LONGEST_PAUSE, state.failures or 1)


def _due(schedule: Schedule, state: ScheduleStatus, at: Situation) -> list[float]:
    """Seconds until time alone asks for a round."""
    moments = []
    if state.next_schedule_time is not None:
        moments.append(parse_time(state.next_schedule_time))
    pending, deadline = state.pending, schedule.starting_deadline_seconds
    if pending is not None and deadline is not None:
        moments.append(parse_time(pending.time) + timedelta(seconds=deadline + 1))
    fresh, data = valid(state), schedule.fresh_data
    if data is not None and fresh is not None and fresh.records >= at.fewest:
        held = _held_until(state, at)
        since = _oldest(fresh, at)
        if data.age_seconds is not None and since is not None and not at.running:
            moments.append(max(held, since + timedelta(seconds=data.age_seconds)))
        moments.append(held)
    return [(moment - at.now).total_seconds() for moment in moments]
