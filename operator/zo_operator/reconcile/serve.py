"""The serving half of the plan: whom to ask, what to tell the replicas, what to say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from zo_operator import conditions, names
from zo_operator.api.serving import Serving
from zo_operator.api.serving_status import ServingStatus
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Round
from zo_operator.conditions import Said
from zo_operator.manifests import serving as manifest
from zo_operator.manifests.metadata import Object
from zo_operator.reconcile.observed import Action, Apply, Delete, Observed, Refusal, Resource
from zo_operator.reconcile.replicas import Follow, Survey
from zo_operator.reconcile.rollout import Goal, advance, choose, target_of
from zo_operator.reconcile.served import condition, count, due, record
from zo_runtime.serving.contract import Canary, DesiredState

_MODEL_NAME_LIMIT = 200


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What serving adds to a plan. `again` is when to plan anew, in seconds, if nothing else happens."""

    status: ServingStatus | None = None
    said: Said | None = None
    actions: tuple[Action, ...] = ()
    follow: Follow | None = None
    again: float | None = None

    @property
    def unsettled(self) -> bool:
        """Whether a version is on its way to replicas that exist, or may exist."""
        state = self.status
        return state is not None and state.version is not None and not state.completion_time and state.replicas != 0


def refused_here(resource: Resource, refusal: Refusal | None) -> bool:
    """Whether a refusal is about the serving ConfigMap, and so no matter of the round."""
    return refusal is not None and refusal.action == f"apply ConfigMap {names.serving(resource.name)}"


def serve(
    resource: Resource, spec: ZOFineTuneSpec, rounds: Sequence[Round], observed: Observed, now: datetime
) -> ServingPlan:
    """Plan the serving of one resource."""
    found = next((c for c in observed.config_maps if c["metadata"]["name"] == names.serving(resource.name)), None)
    if spec.serving is None:
        return ServingPlan(actions=_forget(found))
    model = spec.serving.model_name or resource.name
    if len(model) > _MODEL_NAME_LIMIT:
        message = (
            f"spec.serving.modelName: the resource's name has more than {_MODEL_NAME_LIMIT} characters: give one"
        )
        return ServingPlan(said=("False", conditions.INVALID_SPEC, message))
    follow = _follow(resource, spec.serving, model)
    survey = observed.survey if observed.survey and observed.survey.follow == follow else None
    old, stored = resource.status.serving, manifest.stored_state(found, model)
    goal = choose(spec, rounds) or _last(old, model)
    state = ServingStatus(model_name=model)
    actions: tuple[Action, ...] = ()
    if goal is not None:
        state = advance(old, goal, model, spec.serving.rollout, survey, stored, now)
        actions = _tell(resource, desired(state, spec, stored), found, stored, old)
    state, said, again = _look(resource, spec.serving, state, goal, survey, now)
    if refused_here(resource, observed.refusal) and observed.refusal is not None:
        said = ("False", observed.refusal.reason, f"{observed.refusal.action}: {observed.refusal.message}")
    return ServingPlan(state, said, actions, follow, again)


def _last(old: ServingStatus | None, model: str) -> Goal | None:
    """What was served last, once the history of rounds has forgotten where it came from."""
    target = target_of(old) if old is not None and old.model_name == model else None
    return None if old is None or target is None else Goal(target, old.log_uri or "", old.digest)


def _follow(resource: Resource, serving: Serving, model: str) -> Follow:
    selector = ",".join(f"{key}={value}" for key, value in sorted(serving.selector.items()))
    key = serving.api_key_secret_ref
    return Follow(resource.namespace, selector, serving.port, model, (key.name, key.key) if key else None)


def desired(state: ServingStatus, spec: ZOFineTuneSpec, stored: DesiredState | None) -> DesiredState:
    """What the replicas are to be told. The settings of S3 are the spec's as long as the log is the spec's."""
    target = target_of(state)
    if target is None:
        raise ValueError("a rollout has a target")
    before = target_of(state.previous) if state.previous else None
    uri = state.log_uri or spec.storage.uri
    s3 = manifest.without_secrets(spec.storage.s3)
    if uri != spec.storage.uri and stored is not None and stored.uri == uri:
        s3 = stored.s3
    canary = Canary(target=target, members=tuple(state.canary)) if before is not None and state.canary else None
    return DesiredState(
        format_version=1, name=state.model_name, uri=uri, s3=s3, target=before or target, canary=canary
    )


def _tell(
    resource: Resource,
    wanted: DesiredState,
    found: Object | None,
    stored: DesiredState | None,
    old: ServingStatus | None,
) -> tuple[Action, ...]:
    renamed = old is not None and old.model_name != wanted.name
    if stored == wanted and not renamed:
        return ()
    return (Apply(manifest.config_map(resource.owner, wanted), new=found is None),)


def _forget(found: Object | None) -> tuple[Action, ...]:
    if found is None or "deletionTimestamp" in found["metadata"]:
        return ()
    return (Delete("ConfigMap", found["metadata"]["name"], found["metadata"]["uid"]),)


def _look(
    resource: Resource,
    serving: Serving,
    state: ServingStatus,
    goal: Goal | None,
    survey: Survey | None,
    now: datetime,
) -> tuple[ServingStatus, Said, float | None]:
    """The state with what the survey shows; without one, what was said last stands."""
    if survey is None:
        return *_unseen(resource, state), None
    if survey.problem is not None:
        state, _ = _unseen(resource, state)
        return state, ("Unknown", survey.problem.reason, survey.problem.message), None
    counted = count(state, goal, survey, now)
    state = record(state, goal, counted, survey, now)
    return state, condition(state, counted), due(state, serving.rollout.bake_seconds, counted, now)


def _unseen(resource: Resource, state: ServingStatus) -> tuple[ServingStatus, Said]:
    old = resource.status.serving
    last = next((c for c in resource.status.conditions if c.type == conditions.SERVED), None)
    if old is not None and last is not None and target_of(old) == target_of(state) and old.stage == state.stage:
        kept = ("replicas", "updated", "failed_replicas", "failed", "pods")
        return state.model_copy(update={name: getattr(old, name) for name in kept}), (
            last.status,
            last.reason,
            last.message,
        )
    return state, ("Unknown", conditions.NOT_OBSERVED, "the replicas have not been asked yet")
