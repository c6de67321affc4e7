"""What the replicas of a resource serve, counted and put into words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from zo_operator import conditions, names
from zo_operator.api.serving import Rollout
from zo_operator.api.serving_status import (
    FAILED_LIMIT,
    MESSAGE_LIMIT,
    PODS_LIMIT,
    FailedReplica,
    ReplicaStatus,
    ServingStatus,
)
from zo_operator.conditions import Said
from zo_operator.reconcile import checks
from zo_operator.reconcile.goal import Goal, target_of
from zo_operator.reconcile.observed import parse_time, timestamp
from zo_operator.reconcile.replicas import Aim, Standing, Survey, stand

# Kubernetes brings a changed ConfigMap into a running pod within about two minutes.
PATIENCE = timedelta(seconds=300)
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Count:
    """The replicas by how they stand; `updated` are those that serve the goal itself."""

    updated: tuple[Standing, ...]
    coming: tuple[Standing, ...]
    failed: tuple[Standing, ...]
    missing: tuple[Standing, ...]
    total: int


def count(state: ServingStatus, goal: Goal | None, survey: Survey, now: datetime) -> Count:
    """Compare each replica with what it should serve: the goal, or what went before while others try it."""
    late = state.stage_time is not None and now - parse_time(state.stage_time) > PATIENCE
    found: dict[str, list[Standing]] = {"Updated": [], "Coming": [], "Failed": [], "Missing": []}
    before = target_of(state.previous) if state.previous else None
    for replica in survey.replicas:
        held_back = state.stage == "Canary" and (replica.pod not in state.canary or _elsewhere(state))
        if goal is None or (held_back and before is None):
            kind = Standing(replica, "Missing" if replica.problem else "Coming", replica.problem)
        elif held_back and before is not None:
            kind = stand(replica, Aim(before), state.model_name, late=late)
            if kind.kind == "Updated":
                continue
        else:
            kind = stand(replica, Aim(goal.target, goal.digest), state.model_name, late=late)
        found[kind.kind].append(kind)
    return Count(
        updated=tuple(found["Updated"]),
        coming=tuple(found["Coming"]),
        failed=tuple(found["Failed"]),
        missing=tuple(found["Missing"]),
        total=len(survey.replicas),
    )


def _elsewhere(state: ServingStatus) -> bool:
    """Whether the replicas serve another log's version meanwhile, so that none of them can try this one."""
    return state.previous is not None and state.previous.log_uri is not None


def record(state: ServingStatus, goal: Goal | None, counted: Count, survey: Survey, now: datetime) -> ServingStatus:
    """The status with the numbers of this survey."""
    behind = sorted((*counted.failed, *counted.missing), key=lambda standing: standing.replica.pod)
    done = state.stage == "All" and counted.updated and not counted.coming and not counted.failed
    update = {
        "digest": _digest(state, goal, counted),
        "completion_time": state.completion_time or (timestamp(now) if done else None),
        "replicas": counted.total,
        "updated": len(counted.updated),
        "failed_replicas": len(behind),
        "failed": [_failed(standing) for standing in behind[:FAILED_LIMIT]],
        "pods": [_pod(survey, index) for index in range(min(PODS_LIMIT, counted.total))],
    }
    return state.model_copy(update=update)


def _digest(state: ServingStatus, goal: Goal | None, counted: Count) -> str | None:
    """The round's word, else what all who serve the version agree on."""
    if goal is None or goal.digest is not None:
        return goal.digest if goal else None
    said = {standing.replica.served.digest for standing in counted.updated if standing.replica.served}
    return said.pop() if len(said) == 1 else state.digest


def _failed(standing: Standing) -> FailedReplica:
    reason, message = _why(standing)
    return FailedReplica(pod=standing.replica.pod, reason=reason, message=message)


def _why(standing: Standing) -> tuple[str, str]:
    problem = standing.problem
    if problem is None:
        return standing.kind, ""
    text = problem.message
    return problem.reason, text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 3] + "..."


def _pod(survey: Survey, index: int) -> ReplicaStatus:
    replica = survey.replicas[index]
    served = replica.served
    if replica.problem is not None or served is None:
        return ReplicaStatus(name=replica.pod, state="Missing" if replica.problem else "Pending")
    return ReplicaStatus(
        name=replica.pod, state=served.state, version=served.version, step=served.step, digest=served.digest
    )


def condition(state: ServingStatus, counted: Count) -> Said:
    """The condition `Served`: whether every replica that answers serves what it should."""
    if state.version is None:
        return ("False", conditions.NO_VERSION, "no completed round has published a version with its SHA-256 yet")
    if counted.total == 0 and not state.awaiting_approval:
        return ("False", conditions.NO_REPLICAS, "no pod matches spec.serving.selector")
    reason = _canary(state, counted) if state.stage == "Canary" else _all(counted)
    some = counted.updated and reason in (conditions.ALL_REPLICAS, conditions.REPLICAS_MISSING)
    return ("True" if some else "False", reason, _message(state, counted))


def _all(counted: Count) -> str:
    if counted.failed:
        return conditions.REPLICAS_FAILED
    if counted.coming:
        return conditions.ROLLING_OUT
    return conditions.REPLICAS_MISSING if counted.missing else conditions.ALL_REPLICAS


def _canary(state: ServingStatus, counted: Count) -> str:
    members = set(state.canary)
    if any(standing.replica.pod in members for standing in counted.failed):
        return conditions.CANARY_FAILED
    silent = {standing.replica.pod for standing in counted.missing}
    if members <= silent and silent and not state.awaiting_approval:
        return conditions.CANARY_MISSING
    states = {check.state for check in state.checks}
    if "Failing" in states:
        return conditions.CHECK_FAILED
    if "Inconclusive" in states:
        return conditions.CHECK_INCONCLUSIVE
    return conditions.AWAITING_APPROVAL if state.awaiting_approval else conditions.CANARY


def _message(state: ServingStatus, counted: Count) -> str:
    step = "" if state.step is None else f" at step {state.step}"
    parts = [f"{len(counted.updated)} of {counted.total} replicas serve version {state.version}{step}"]
    if state.stage == "Canary":
        parts += _trial(state)
    behind = (*counted.failed, *counted.missing)
    if behind:
        told = [f"{standing.replica.pod} ({': '.join(filter(None, _why(standing)))})" for standing in behind[:_NAMED]]
        more = f" and {len(behind) - _NAMED} more" if len(behind) > _NAMED else ""
        parts.append(f"not there: {', '.join(told)}{more}")
    return "; ".join(parts)


def _trial(state: ServingStatus) -> list[str]:
    """What is going on while not all replicas may serve the version."""
    parts = []
    if state.previous is not None and _elsewhere(state):
        parts.append(f"meanwhile they serve version {state.previous.version} of {state.previous.log_uri}")
    elif state.previous is not None:
        tried = f"{', '.join(state.canary[:_NAMED])} first" if state.canary else "no replica answers to try it"
        parts.append(f"{tried}, the others serve version {state.previous.version}")
    parts += checks.told(state.checks) if state.canary_ready_time else []
    if state.awaiting_approval:
        parts.append(
            f"version {state.version} waits for approval: set spec.serving.rollout.approvedVersion or the annotation "
            f"{names.ANNOTATION_APPROVE} to {state.version}"
        )
    return parts


def due(state: ServingStatus, rollout: Rollout, counted: Count, now: datetime) -> float | None:
    """Seconds after which time alone changes something: the others' turn, a check's, or the end of patience."""
    moments = []
    if state.canary_ready_time is not None:
        ready = parse_time(state.canary_ready_time)
        moments.append(ready + timedelta(seconds=rollout.bake_seconds))
        known = {status.name: status for status in state.checks}
        asked = [checks.due(check, known[check.name], ready) for check in rollout.checks if check.name in known]
        moments += [moment for moment in asked if moment is not None]
    if state.canary_failed_time is not None:
        moments.append(parse_time(state.canary_failed_time) + timedelta(seconds=rollout.progress_deadline_seconds))
    if counted.coming and state.stage_time is not None:
        moments.append(parse_time(state.stage_time) + PATIENCE + timedelta(seconds=1))
    left = [(moment - now).total_seconds() for moment in moments]
    return min((seconds for seconds in left if seconds > 0), default=None)
