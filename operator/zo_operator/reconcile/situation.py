"""What a schedule has to know of the rest of its resource, and small steps that its parts share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from zo_operator.api.schedule_status import PendingRound, ScheduleStatus
from zo_operator.api.status import Round
from zo_operator.reconcile.probe import Look
from zo_runtime.rounds.contract import Fresh


@dataclass(frozen=True, slots=True)
class Situation:
    """The rest of the resource at one moment."""

    now: datetime
    head: Round | None
    """The current round, as it is now."""
    stored_head: Round | None
    """The current round of the stored status."""
    content: str
    """Identifies the data and the log of the spec."""
    fewest: int
    """Fresh records that a round needs at least."""
    restart: str
    skip: str
    suspended: bool
    canary: bool
    """Whether a version is on its way to the first replicas: it may yet be taken back."""
    look: Look | None
    """The look that goes on."""

    @property
    def running(self) -> bool:
        return self.head is not None and self.head.outcome is None


def changed(state: ScheduleStatus, **fields: Any) -> ScheduleStatus:
    """The state with other fields."""
    return state.model_copy(update=fields)


def valid(state: ScheduleStatus) -> Fresh | None:
    """What is known to be fresh, if no round has begun or ended since the last look."""
    return None if state.stale else state.fresh


def answered(state: ScheduleStatus, pending: PendingRound) -> bool:
    """Whether a look that began after the round was due has succeeded."""
    return state.probe > pending.probe and state.probe_start_time is None and state.problem is None


def pause(first: timedelta, longest: timedelta, failures: int) -> timedelta:
    """The pause after so many failures, one after another; it doubles."""
    return min(longest, first * 2.0 ** min(failures - 1, 32))
