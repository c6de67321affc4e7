"""How a version reaches the replicas: some first, then all. Pure steps on `status.serving`.

Nothing is remembered but that status and the ConfigMap that was written last. A replica that is silent is never
waited for; one that answers and has failed holds the version back from the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from zo_operator.api.serving import Rollout
from zo_operator.api.serving_status import PreviousVersion, ServingStatus
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Round
from zo_operator.reconcile.observed import parse_time, timestamp
from zo_operator.reconcile.replicas import Aim, Replica, Survey, stand
from zo_runtime.serving.contract import DesiredState, Target

# The contract takes a thousand names, and a canary may be replaced once.
_MEMBERS_LIMIT = 500
# Times are kept to the second, and nobody is to bake for less than was asked for.
_ALMOST_A_SECOND = timedelta(microseconds=999_999)


@dataclass(frozen=True, slots=True)
class Goal:
    """What all replicas are to serve in the end. `pinned`: because the spec says so."""

    target: Target
    uri: str
    digest: str | None = None
    pinned: bool = False


def choose(spec: ZOFineTuneSpec, rounds: Iterable[Round]) -> Goal | None:
    """The spec's target, else the version of the newest round that completed; none where there is none yet."""
    pin = spec.serving.target if spec.serving else None
    published = [(target, past) for past in rounds if (target := _published(past)) is not None]
    if pin is not None:
        digest = next((past.digest for target, past in published if target == pin), None)
        return Goal(pin, spec.storage.uri, digest, pinned=True)
    for target, past in published:
        return Goal(target, past.log_uri or spec.storage.uri, past.digest)
    return None


def _published(past: Round) -> Target | None:
    """What a completed round has published; none if its run was too old to tell the version's hash."""
    if past.outcome != "Completed" or past.version is None or past.version_sha256 is None:
        return None
    try:
        return Target(version=past.version, sha256=past.version_sha256)
    except ValidationError:
        return None


def target_of(state: ServingStatus | PreviousVersion) -> Target | None:
    """The target that a status tells."""
    if state.version is None or state.sha256 is None:
        return None
    try:
        return Target(version=state.version, sha256=state.sha256, step=state.step)
    except ValidationError:
        return None


def advance(
    old: ServingStatus | None,
    goal: Goal,
    model: str,
    rollout: Rollout,
    survey: Survey | None,
    stored: DesiredState | None,
    now: datetime,
) -> ServingStatus:
    """The rollout's next state. `stored` is what the replicas were told last."""
    if old is None or not _is_for(old, goal, model):
        old = _begin(old, goal, model, rollout, stored, now)
    if old.stage != "Canary":
        return old
    if goal.pinned or wanted(rollout, 1) == 0:
        return _to_all(old, now)
    return old if survey is None or survey.problem else _try(old, goal, model, rollout, survey, stored, now)


def _is_for(state: ServingStatus, goal: Goal, model: str) -> bool:
    return state.model_name == model and target_of(state) == goal.target and state.log_uri == goal.uri


def _begin(
    old: ServingStatus | None, goal: Goal, model: str, rollout: Rollout, stored: DesiredState | None, now: datetime
) -> ServingStatus:
    """A new target. Only where the others serve a version of the same log is there anything to compare it with."""
    same_model = old is not None and old.model_name == model
    before = _settled(old if same_model else None, stored, goal)
    careful = before is not None and not goal.pinned and wanted(rollout, 1) > 0
    target = goal.target
    return ServingStatus(
        model_name=model,
        version=target.version,
        step=target.step,
        sha256=target.sha256,
        digest=goal.digest,
        log_uri=goal.uri,
        stage="Canary" if careful else "All",
        stage_time=timestamp(now),
        canary=old.canary if careful and old is not None else [],
        previous=before if careful else None,
        replicas=old.replicas if old else None,
    )


def _settled(old: ServingStatus | None, stored: DesiredState | None, goal: Goal) -> PreviousVersion | None:
    """What all replicas but canaries serve at present, if that is another version of the same log."""
    if stored is not None:
        uri, target = stored.uri, stored.target
    elif old is not None and (known := target_of(old.previous or old)) is not None:
        uri, target = old.log_uri or "", known
    else:
        return None
    if uri != goal.uri or target == goal.target:
        return None
    return PreviousVersion(version=target.version, sha256=target.sha256, step=target.step)


def _try(
    state: ServingStatus,
    goal: Goal,
    model: str,
    rollout: Rollout,
    survey: Survey,
    stored: DesiredState | None,
    now: datetime,
) -> ServingStatus:
    if not survey.replicas:
        return _to_all(state, now)
    told = stored.canary.members if stored and stored.canary and stored.canary.target == goal.target else ()
    members = choose_members(state.canary or list(told), survey.replicas, wanted(rollout, len(survey.replicas)))
    aim = Aim(goal.target, goal.digest)
    found = [stand(replica, aim, model, late=False).kind for replica in survey.replicas if replica.pod in members]
    answering = [kind for kind in found if kind != "Missing"]
    since = None
    if answering and all(kind == "Updated" for kind in answering):
        since = state.canary_ready_time or timestamp(now + _ALMOST_A_SECOND)
        if now - parse_time(since) >= timedelta(seconds=rollout.bake_seconds):
            return _to_all(state, now)
    return state.model_copy(update={"canary": members, "canary_ready_time": since})


def _to_all(state: ServingStatus, now: datetime) -> ServingStatus:
    update: dict[str, Any] = {
        "stage": "All",
        "stage_time": timestamp(now),
        "canary": [],
        "canary_ready_time": None,
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
