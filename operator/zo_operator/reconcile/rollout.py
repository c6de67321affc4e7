"""How a version reaches the replicas: some first, then all, or back. Pure steps on `status.serving`.

Nothing is remembered but that status and the ConfigMap that was written last. A replica that is silent is never
waited for; one that answers and has failed holds the version back from the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from zo_operator.api.serving import Rollout
from zo_operator.api.serving_status import PreviousVersion, ServingStatus
from zo_operator.reconcile import checks
from zo_operator.reconcile.goal import Fault, Goal, target_of
from zo_operator.reconcile.observed import parse_time, timestamp
from zo_operator.reconcile.questions import Finding
from zo_operator.reconcile.replicas import Aim, Replica, Standing, Survey, stand
from zo_runtime.serving.contract import DesiredState, Target

# The contract takes a thousand names, and a canary may be replaced once.
_MEMBERS_LIMIT = 500
# Times are kept to the second, and nobody is to bake for less than was asked for.
_ALMOST_A_SECOND = timedelta(microseconds=999_999)
# Reasons that tell of the replica or of storage, and nothing of the version: such a replica is waited for.
_NOT_THE_VERSIONS = frozenset({"StorageUnavailable", "StorageDenied", "NotConfigured", "StaleDesiredState"})


@dataclass(frozen=True, slots=True)
class Scene:
    """What a rollout goes by, beside its own status. `stored` is what the replicas were told last."""

    goal: Goal
    model: str
    rollout: Rollout
    survey: Survey | None
    stored: DesiredState | None
    now: datetime
    approved: frozenset[int] = frozenset()
    findings: Mapping[str, Finding] = field(default_factory=dict)
    """New findings, by the check's name."""

    @property
    def cleared(self) -> bool:
        """Whether nobody needs to approve the version, or somebody has."""
        by_hand = self.rollout.approval == "Manual" and not self.goal.pinned
        return not by_hand or self.goal.target.version in self.approved


def advance(old: ServingStatus | None, scene: Scene) -> tuple[ServingStatus, Fault | None]:
    """The rollout's next state; with a fault, the version is to be taken back."""
    if old is None or not _is_for(old, scene):
        old = _begin(old, scene)
    if old.stage != "Canary":
        return old, None
    if scene.goal.pinned:
        return _to_all(old, scene.now), None
    if not can_try(old, scene.rollout):
        return _to_all_if_cleared(old, scene), None
    if scene.survey is None or scene.survey.problem:
        return old, None
    if not scene.survey.replicas:
        return (_wait(old, scene) if scene.rollout.checks else _to_all_if_cleared(old, scene)), None
    return _try(old, scene, scene.survey)


def can_try(state: ServingStatus, rollout: Rollout) -> bool:
    """Whether some replicas may serve the version while others serve the one before: both must be of one log."""
    previous = state.previous
    return previous is not None and previous.log_uri is None and wanted(rollout, 1) > 0


def _is_for(state: ServingStatus, scene: Scene) -> bool:
    goal = scene.goal
    return state.model_name == scene.model and target_of(state) == goal.target and state.log_uri == goal.uri


def _begin(old: ServingStatus | None, scene: Scene) -> ServingStatus:
    """A new target. Only where the others serve a version of the same log is there anything to compare it with."""
    goal, target = scene.goal, scene.goal.target
    known = old if old is not None and old.model_name == scene.model else None
    past = _present(known, scene)
    there = past == (goal.uri, target) or _served_already(old, goal)
    previous = None if past is None or there else _previous(*past, goal.uri, known)
    comparable = previous is not None and previous.log_uri is None and wanted(scene.rollout, 1) > 0
    careful = not there and not goal.pinned and (comparable or not scene.cleared)
    return ServingStatus(
        model_name=scene.model,
        version=target.version,
        step=target.step,
        sha256=target.sha256,
        digest=goal.digest,
        log_uri=goal.uri,
        stage="Canary" if careful else "All",
        stage_time=timestamp(scene.now),
        canary=known.canary if careful and comparable and known is not None else [],
        previous=previous if careful else None,
        replicas=old.replicas if old else None,
    )


def _served_already(old: ServingStatus | None, goal: Goal) -> bool:
    """Whether it was brought to all replicas before, if under another name."""
    return old is not None and old.stage == "All" and target_of(old) == goal.target and old.log_uri == goal.uri


def _present(old: ServingStatus | None, scene: Scene) -> tuple[str, Target] | None:
    """What all replicas but canaries serve at present: the log and the version."""
    if scene.stored is not None:
        return scene.stored.uri, scene.stored.target
    if old is None:
        return None
    past = old.previous if old.stage == "Canary" else None
    known = target_of(old) if past is None and old.stage == "All" else target_of(past) if past is not None else None
    uri = (past.log_uri if past is not None else None) or old.log_uri or ""
    return None if known is None else (uri, known)


def _previous(uri: str, target: Target, goal_uri: str, old: ServingStatus | None) -> PreviousVersion:
    source = None
    if old is not None:
        source = old.digest if target_of(old) == target else None
        if old.previous is not None and target_of(old.previous) == target:
            source = old.previous.digest
    return PreviousVersion(
        version=target.version,
        sha256=target.sha256,
        step=target.step,
        digest=source,
        log_uri=None if uri == goal_uri else uri,
    )


def _try(state: ServingStatus, scene: Scene, survey: Survey) -> tuple[ServingStatus, Fault | None]:
    """Some replicas serve the version: choose them, wait for them, check them."""
    goal, now, stored = scene.goal, scene.now, scene.stored
    told = stored.canary.members if stored and stored.canary and stored.canary.target == goal.target else ()
    replicas = survey.replicas
    members = choose_members(state.canary or list(told), replicas, wanted(scene.rollout, len(replicas)))
    aim = Aim(goal.target, goal.digest)
    standings = [stand(replica, aim, scene.model, late=False) for replica in replicas if replica.pod in members]
    answering = [standing for standing in standings if standing.kind != "Missing"]
    ready = bool(answering) and all(standing.kind == "Updated" for standing in answering)
    trouble = _trouble(standings, replicas)
    update: dict[str, Any] = {
        "canary": members,
        "canary_ready_time": (state.canary_ready_time or timestamp(now + _ALMOST_A_SECOND)) if ready else None,
        "canary_failed_time": (state.canary_failed_time or timestamp(now + _ALMOST_A_SECOND)) if trouble else None,
        "awaiting_approval": None,
    }
    state = state.model_copy(update=update)
    if trouble is not None and _over(state.canary_failed_time, scene.rollout.progress_deadline_seconds, now):
        return _wait(state, scene), trouble
    return _check(state, scene) if ready else (_wait(state, scene), None)


def _trouble(standings: list[Standing], replicas: tuple[Replica, ...]) -> Fault | None:
    """What speaks against the version before any check: a replica that cannot load it, or, while others answer,
    that all of those that were to try it are gone."""
    for standing in standings:
        problem = standing.problem
        if standing.kind == "Failed" and problem is not None and problem.reason not in _NOT_THE_VERSIONS:
            return Fault(
                "CanaryFailed", f"{standing.replica.pod} cannot serve it: {problem.reason}: {problem.message}"
            )
    tried = {standing.replica.pod for standing in standings}
    others = any(replica.answers for replica in replicas if replica.pod not in tried)
    if standings and others and all(standing.kind == "Missing" for standing in standings):
        return Fault("CanaryMissing", f"{', '.join(sorted(tried))} no longer answer, and other replicas do")
    return None


def _check(state: ServingStatus, scene: Scene) -> tuple[ServingStatus, Fault | None]:
    """The first replicas serve the version: what have the checks found, and is it enough?"""
    ready, wished = parse_time(state.canary_ready_time or timestamp(scene.now)), scene.rollout.checks
    found = checks.examine(wished, checks.begin(wished, state.checks), scene.findings, scene.now)
    state = state.model_copy(update={"checks": found})
    fault = checks.fault(wished, found)
    if fault is not None:
        return state, fault
    passed = all(checks.satisfied(check, status, ready) for check, status in zip(wished, found, strict=True))
    if passed and _over(state.canary_ready_time, scene.rollout.bake_seconds, scene.now):
        return _to_all_if_cleared(state, scene), None
    return state, None


def _wait(state: ServingStatus, scene: Scene) -> ServingStatus:
    """Not all of the first replicas serve the version, so nothing can be asked."""
    found = checks.paused(checks.begin(scene.rollout.checks, state.checks))
    return state.model_copy(update={"checks": found, "canary_ready_time": None, "awaiting_approval": None})


def _over(since: str | None, seconds: int, now: datetime) -> bool:
    return since is not None and now - parse_time(since) >= timedelta(seconds=seconds)


def _to_all_if_cleared(state: ServingStatus, scene: Scene) -> ServingStatus:
    return _to_all(state, scene.now) if scene.cleared else state.model_copy(update={"awaiting_approval": True})


def _to_all(state: ServingStatus, now: datetime) -> ServingStatus:
    update: dict[str, Any] = {
        "stage": "All",
        "stage_time": timestamp(now),
        "canary": [],
        "canary_ready_time": None,
        "canary_failed_time": None,
        "awaiting_approval": None,
        "previous": None,
    }
    return state.model_copy(update=update)


def wanted(rollout: Rollout, replicas: int) -> int:
    """How many of so many replicas are to go first."""
    count = rollout.canary_replicas
    if isinstance(count, str):
        count = math.ceil(replicas * int(count.removesuffix("%")) / 100)
    return min(count, replicas, _MEMBERS_LIMIT)


def choose_members(kept: list[str], replicas: tuple[Replica, ...], count: int) -> list[str]:
    """Who goes first: whoever did so far and is still there, and others for those that fell silent. At most as
    many again take their place, so that a version that kills replicas does not eat its way through them all."""
    there = {replica.pod: replica for replica in replicas}
    members = [pod for pod in kept if pod in there]
    alive = sum(there[pod].answers for pod in members)
    spare = [replica for replica in replicas if replica.answers and replica.pod not in members]
    spare.sort(key=lambda replica: (replica.served is None, replica.pod))
    room = min(count - alive, 2 * count - len(members))
    return sorted([*members, *(replica.pod for replica in spare[: max(0, room)])])
