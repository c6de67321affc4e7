"""Looks at the data: when one is due, and what one that has ended found."""

from __future__ import annotations

from datetime import datetime, timedelta

from zo_operator import conditions
from zo_operator.api.schedule import Schedule
from zo_operator.api.schedule_status import RoundVersion, ScheduleStatus
from zo_operator.reconcile.observed import parse_time, timestamp
from zo_operator.reconcile.probe import problem
from zo_operator.reconcile.rollout_events import Transition
from zo_operator.reconcile.situation import Situation, answered, changed, pause, valid
from zo_runtime.rounds.contract import Fresh

# After a look that failed.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)


def absorb(state: ScheduleStatus, at: Situation, told: list[Transition]) -> ScheduleStatus:
    """What the look that has ended found."""
    look = at.look
    if state.probe_start_time is None or look is None or look.end is None:
        return state
    ended = {"probe_start_time": None, "last_probe_time": timestamp(at.now)}
    wrong = problem(look)
    if wrong is not None or look.result is None:
        return changed(state, **ended, problem=wrong, probe_failures=(state.probe_failures or 0) + 1)
    fresh = look.result.fresh
    if fresh.changed_count > (state.fresh.changed_count if state.fresh else 0):
        told.append((True, "DataChanged", changed_words(fresh)))
    accepted = look.result.accepted
    log = {
        "log_round": look.result.round or None,
        "log_version": RoundVersion(version=accepted.version, sha256=accepted.sha256) if accepted else None,
    }
    return changed(state, **ended, **log, fresh=fresh, stale=None, problem=None, probe_failures=None)


def few_words(fresh: Fresh, fewest: int) -> tuple[str, str]:
    """Why so little fresh data begins no round: reason and sentence."""
    if fresh.records == 0:
        return conditions.NO_FRESH_DATA, "nothing is fresh"
    needs = f"a round needs {fewest}, part of which are held out"
    return conditions.TOO_FEW_RECORDS, f"{fresh.records} records are fresh and {needs}"


def changed_words(fresh: Fresh) -> str:
    """That objects are no longer what was learned from, with the first names."""
    more = fresh.changed_count - len(fresh.changed)
    which = ", ".join(fresh.changed) + (f" and {more} more" if more > 0 else "")
    return f"{fresh.changed_count} objects are others than were learned from, and are not learned again: {which}"


def look_again(schedule: Schedule, state: ScheduleStatus, at: Situation) -> tuple[ScheduleStatus, list[float]]:
    """Begin a look if one is due; else say in how many seconds one is."""
    if state.probe_start_time is not None:
        return state, []
    wait = _wait_for_look(schedule, state, at)
    if wait is None or wait > 0:
        return state, [] if wait is None else [wait]
    return changed(state, probe=state.probe + 1, probe_start_time=timestamp(at.now)), []


def _wait_for_look(schedule: Schedule, state: ScheduleStatus, at: Situation) -> float | None:
    asked = state.pending is not None and not (answered(state, state.pending) and valid(state) is not None)
    data = schedule.fresh_data
    if not asked and data is None:
        return None
    if state.last_probe_time is None:
        return 0
    last = parse_time(state.last_probe_time)
    if state.probe_failures:
        return _left(last, pause(FIRST_PAUSE, LONGEST_PAUSE, state.probe_failures), at.now)
    if asked or data is None or (state.stale and not at.running):
        return 0
    return _left(last, timedelta(seconds=data.probe_seconds), at.now)


def _left(since: datetime, period: timedelta, now: datetime) -> float:
    """Seconds of a period that are left; none where the clock has gone back since."""
    left = since + period - now
    return 0 if left > period else left.total_seconds()
