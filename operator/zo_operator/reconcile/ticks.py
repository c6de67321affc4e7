"""The times of a schedule's `cron`: which comes next, and what is made of those that have passed."""

from __future__ import annotations

from datetime import datetime, timedelta

from zo_operator import cron
from zo_operator.api.schedule import Schedule
from zo_operator.api.schedule_status import PendingRound, ScheduleStatus
from zo_operator.reconcile.observed import parse_time, timestamp
from zo_operator.reconcile.rollout_events import Transition
from zo_operator.reconcile.situation import Situation, changed

# A clock that went back by more was wrong before: its times mean nothing.
_SKEW = timedelta(hours=1)


def tick(
    schedule: Schedule, state: ScheduleStatus, at: Situation, told: list[Transition], *, act: bool
) -> ScheduleStatus:
    """Keep the next time of `cron`; where it has come, ask for a round, if it may be acted on now."""
    if schedule.cron is None:
        return changed(state, next_schedule_time=None)
    stored = parse_time(state.next_schedule_time) if state.next_schedule_time else None
    if stored is None or stored > at.now or not _is_time(schedule, stored):
        return changed(state, next_schedule_time=_next(schedule, state, at.now))
    if not act:
        return state
    latest = cron.latest_time(schedule.cron, schedule.time_zone, stored, at.now)
    missed = len(cron.times(schedule.cron, schedule.time_zone, stored, latest)) - 1
    passed = late(schedule, latest, at.now)
    if missed or passed:
        told.append((True, "MissedSchedule", _missed_words(schedule, stored, latest, missed, passed=passed)))
    if not passed:
        # The round that waits already stands for both.
        pending = state.pending or PendingRound(trigger="Cron", time=timestamp(latest), probe=state.probe)
        state = changed(state, pending=pending)
    state = changed(state, last_schedule_time=timestamp(latest))
    return changed(state, next_schedule_time=_next(schedule, state, at.now))


def _is_time(schedule: Schedule, moment: datetime) -> bool:
    """Whether the present expression names that moment, or the moment is another expression's."""
    return cron.next_time(schedule.cron or "", schedule.time_zone, moment - timedelta(seconds=1)) == moment


def _next(schedule: Schedule, state: ScheduleStatus, now: datetime) -> str | None:
    """The next time of `cron` after the last that was acted on, even if the clock went back a little since."""
    last = parse_time(state.last_schedule_time) if state.last_schedule_time else now
    start = max(now, last) if last - now <= _SKEW else now
    found = cron.next_time(schedule.cron or "", schedule.time_zone, start)
    return timestamp(found) if found is not None else None


def late(schedule: Schedule, moment: datetime, now: datetime) -> bool:
    """Whether it is too late to begin a round for that time."""
    deadline = schedule.starting_deadline_seconds
    return deadline is not None and now - moment > timedelta(seconds=deadline)


def _missed_words(schedule: Schedule, first: datetime, latest: datetime, missed: int, *, passed: bool) -> str:
    many = f"{cron.COUNT_LIMIT} or more" if missed + 1 >= cron.COUNT_LIMIT else str(missed)
    unused = f"{many} scheduled times from {timestamp(first)} on passed unused" if missed else ""
    if passed:
        limit = schedule.starting_deadline_seconds
        own = f"no round begins for {timestamp(latest)}, more than startingDeadlineSeconds ({limit}) ago"
    else:
        own = f"one round stands for them and for {timestamp(latest)}"
    return "; ".join(filter(None, (unused, own)))
