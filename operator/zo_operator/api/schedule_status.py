"""`status.schedule`: what a schedule waits for, and what was found in the data last."""

from __future__ import annotations

from typing import Literal

from zo_operator.api.status_model import StatusModel, Time
from zo_runtime.rounds.contract import Fresh

Trigger = Literal["Cron", "FreshData", "Manual"]


class RoundVersion(StatusModel):
    """A version that a round refers to."""

    version: int
    """Number of the version."""
    sha256: str
    """SHA-256 of the version's object in the log."""


class PendingRound(StatusModel):
    """A round that is due and begins if a look at the data finds anything fresh."""

    trigger: Trigger
    """What asks for it."""
    time: Time
    """When it was due."""
    probe: int
    """The first look after the one of this number decides."""


class ProbeProblem(StatusModel):
    """Why the latest look at the data failed."""

    reason: str
    """The runtime's reason, or Kubernetes's."""
    message: str = ""
    """The error itself."""
    final: bool = False
    """Whether someone has to change something; else the next look may succeed."""


class ScheduleStatus(StatusModel):
    """What the schedule waits for, and what was found in the data last."""

    last_schedule_time: Time | None = None
    """The last time of `cron` that was acted on, or said to be missed."""
    next_schedule_time: Time | None = None
    """The next time of `cron`. It lies in the past while a round runs that has to end first."""
    last_probe_time: Time | None = None
    """When the latest look at the data had ended."""
    fresh: Fresh | None = None
    """What that look found, or the latest one that did not fail."""
    stale: bool | None = None
    """Whether a round has begun or ended since, so that `fresh` no longer holds."""
    pending: PendingRound | None = None
    """A round that is due and waits for a look at the data."""
    probe: int = 0
    """Number of the latest look at the data, which may be going on."""
    probe_start_time: Time | None = None
    """When the look began that is going on."""
    probe_failures: int | None = None
    """Looks that have failed one after another."""
    problem: ProbeProblem | None = None
    """Why the latest of them failed."""
    failures: int | None = None
    """Rounds that have failed one after another."""
    log_round: int | None = None
    """Number of the newest round that the log knows."""
    log_version: RoundVersion | None = None
    """The newest version of the log that may be served."""
    hash: str | None = None
    """Identifies the data and the log that `fresh` speaks of."""
    restart: str | None = None
    """Value of the annotation `zofinetune.io/restart` that was acted on last."""
    skip: str | None = None
    """Value of the annotation `zofinetune.io/skip-round` that was read last."""
