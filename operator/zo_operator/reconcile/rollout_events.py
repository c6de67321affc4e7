"""Events of serving: a version on its way to the replicas, and what keeps it from them."""

from __future__ import annotations

from collections.abc import Iterator

from zo_operator import conditions
from zo_operator.api.serving_status import ServingStatus
from zo_operator.api.status import Condition, Status

Transition = tuple[bool, str, str]
"""Whether it is a warning, its reason, its message."""


def since(old: Status) -> str:
    """What tells one occurrence of the same words from another; nothing without serving."""
    served = _served(old)
    return "" if old.serving is None else f"{old.serving.stage_time} {served.last_transition_time if served else ''}"


def rollout_transitions(old: Status, new: Status) -> Iterator[Transition]:
    """What happened between two statuses."""
    if new.serving is None:
        return
    yield from _rollbacks(old.serving, new.serving)
    yield from _stages(old.serving, new.serving)
    before, after = _served(old), _served(new)
    if after is None or after.reason in conditions.ORDINARY:
        return
    if before is None or (before.status, before.reason) != (after.status, after.reason):
        yield True, after.reason, after.message


def _stages(old: ServingStatus | None, new: ServingStatus) -> Iterator[Transition]:
    what = f"version {new.version}" + ("" if new.step is None else f" at step {new.step}")
    moved = old is None or _target(old) != _target(new)
    if new.version is not None and (moved or old is None or old.stage != new.stage):
        if new.stage == "Canary" and new.previous is not None and new.previous.log_uri is None:
            rest = f", the others serve version {new.previous.version}" if new.previous else ""
            yield False, "CanaryStarted", f"{what} on some replicas first{rest}"
        elif new.stage == "All":
            yield False, "RolloutStarted", f"{what} on all replicas"
    if new.awaiting_approval and (moved or old is None or not old.awaiting_approval):
        yield False, "AwaitingApproval", f"{what} waits for approval"
    if new.completion_time is not None and (moved or old is None or old.completion_time is None):
        yield False, "RolloutCompleted", f"{what} on {new.updated} of {new.replicas} replicas"


def _rollbacks(old: ServingStatus | None, new: ServingStatus) -> Iterator[Transition]:
    asked = new.rollback
    if asked is not None and (old is None or old.rollback is None or old.rollback.value != asked.value):
        reason = "RollbackRequested" if asked.accepted else "RollbackRefused"
        yield not asked.accepted, reason, asked.message
    known = {past.sha256 for past in old.withdrawn} if old is not None else set()
    for past in reversed(new.withdrawn):
        if past.sha256 not in known:
            yield True, "RolledBack", f"version {past.version} ({past.reason}): {past.message}"


def _target(state: ServingStatus) -> tuple[object, ...]:
    return state.model_name, state.version, state.sha256, state.step, state.log_uri


def _served(status: Status) -> Condition | None:
    return next((found for found in status.conditions if found.type == conditions.SERVED), None)
