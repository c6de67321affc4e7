"""The serving half of the plan: whom to ask, what to tell the replicas, what to say of them, what to take back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from zo_operator import conditions, names
from zo_operator.api.serving import Rollout, Serving
from zo_operator.api.serving_status import RollbackRequest, ServingStatus
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Round
from zo_operator.conditions import Said
from zo_operator.manifests import serving as manifest
from zo_operator.manifests.metadata import Object
from zo_operator.reconcile import canary, held_out
from zo_operator.reconcile.goal import (
    Goal,
    History,
    answer_request,
    approved_versions,
    before,
    choose,
    last_goal,
    target_of,
)
from zo_operator.reconcile.observed import Action, Apply, Defaults, Delete, Observed, Refusal, Resource, timestamp
from zo_operator.reconcile.questions import Question
from zo_operator.reconcile.replicas import Follow, Survey
from zo_operator.reconcile.rollout import Scene, advance
from zo_operator.reconcile.served import condition, count, due, record
from zo_runtime.serving.contract import Canary, DesiredState

_MODEL_NAME_LIMIT = 200


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What serving adds to a plan. `rounds` are those of the plan, some of them taken back; `again` is when to plan
    anew, in seconds, if nothing else happens; `refresh` asks for a plan with live pods instead."""

    rounds: tuple[Round, ...]
    status: ServingStatus | None = None
    said: Said | None = None
    actions: tuple[Action, ...] = ()
    follow: Follow | None = None
    ask: tuple[Question, ...] = ()
    again: float | None = None
    refresh: bool = False

    @property
    def unsettled(self) -> bool:
        """Whether a version is on its way to replicas that exist, or may exist."""
        state = self.status
        return state is not None and state.version is not None and not state.completion_time and state.replicas != 0


def refused_here(resource: Resource, refusal: Refusal | None) -> bool:
    """Whether a refusal is about the serving ConfigMap or a check, and so no matter of the round."""
    if refusal is None:
        return False
    checks = names.check_prefix(resource.name)
    return refusal.action == f"apply ConfigMap {names.serving(resource.name)}" or f" {checks}" in refusal.action


def serve(
    resource: Resource,
    spec: ZOFineTuneSpec,
    rounds: Sequence[Round],
    observed: Observed,
    now: datetime,
    defaults: Defaults,
) -> ServingPlan:
    """Plan the serving of one resource."""
    found = next((c for c in observed.config_maps if c["metadata"]["name"] == names.serving(resource.name)), None)
    if spec.serving is None:
        return ServingPlan(tuple(rounds), actions=(*_forget(found), *held_out.remove_all(observed)))
    model = spec.serving.model_name or resource.name
    if len(model) > _MODEL_NAME_LIMIT:
        message = (
            f"spec.serving.modelName: the resource's name has more than {_MODEL_NAME_LIMIT} characters: give one"
        )
        return ServingPlan(tuple(rounds), said=("False", conditions.INVALID_SPEC, message))
    follow = _follow(resource, spec.serving, model)
    survey = observed.survey if observed.survey and observed.survey.follow == follow else None
    course = _Course(resource, spec, model, survey, observed, manifest.stored_state(found, model), now)
    state, goal, history, refresh = course.run(rounds)
    if refresh:
        return ServingPlan(tuple(rounds), refresh=True)
    actions: list[Action] = []
    ask: tuple[Question, ...] = ()
    if goal is not None:
        told = desired(state, spec, course.stored)
        actions += _tell(resource, told, found, course.stored, resource.status.serving) if told is not None else ()
        actions += held_out.actions(resource, spec, state, goal, survey, observed, defaults.runtime_image, now)
        ask = canary.questions(resource, spec.serving.rollout, state, now)
    state, said, again = _look(resource, spec.serving.rollout, state, goal, survey, now)
    if refused_here(resource, observed.refusal) and observed.refusal is not None:
        said = ("False", observed.refusal.reason, f"{observed.refusal.action}: {observed.refusal.message}")
    return ServingPlan(history.rounds, state, said, tuple(actions), follow, ask, again)


@dataclass(frozen=True)
class _Course:
    """From the stored status to the next one."""

    resource: Resource
    spec: ZOFineTuneSpec
    model: str
    survey: Survey | None
    observed: Observed
    stored: DesiredState | None
    now: datetime

    def run(self, rounds: Sequence[Round]) -> tuple[ServingStatus, Goal | None, History, bool]:
        """The rollout's state, its goal, the rounds as they are then, and whether live pods are needed first."""
        old, uri = self.resource.status.serving, self.spec.storage.uri
        history = History(tuple(rounds), tuple(old.withdrawn) if old is not None else ())
        wish = self.resource.annotation(names.ANNOTATION_ROLLBACK)
        answered = answer_request(wish, old, history, uri, timestamp(self.now))
        history = answered.history
        goal = choose(self.spec, history)
        if answered.goal is not None and (goal is None or not goal.pinned):
            goal = replace(answered.goal, pinned=True)
        goal = goal or last_goal(old, self.model)
        if goal is None:
            return self._keep(ServingStatus(model_name=self.model), history, answered.request), None, history, False
        found = canary.findings(self.resource, self.spec, old, goal, self.model, self.observed)
        if found.refresh:
            return ServingStatus(model_name=self.model), goal, history, True
        state, fault = advance(old, self._scene(goal, found))
        if fault is not None:
            history = history.withdraw(goal.target, fault, timestamp(self.now))
            goal = choose(self.spec, history) or before(state)
            if goal is None:
                raise ValueError("a version that is tried has one before it")
            state, _ = advance(state, self._scene(goal, canary.Findings({})))
        return self._keep(state, history, answered.request), goal, history, False

    def _scene(self, goal: Goal, found: canary.Findings) -> Scene:
        rollout = self.spec.serving.rollout if self.spec.serving else Rollout()
        approved = approved_versions(self.resource.annotation(names.ANNOTATION_APPROVE), (rollout.approved_version,))
        return Scene(goal, self.model, rollout, self.survey, self.stored, self.now, approved, found.found)

    @staticmethod
    def _keep(state: ServingStatus, history: History, request: RollbackRequest | None) -> ServingStatus:
        return state.model_copy(update={"withdrawn": list(history.withdrawn), "rollback": request})


def _follow(resource: Resource, serving: Serving, model: str) -> Follow:
    selector = ",".join(f"{key}={value}" for key, value in sorted(serving.selector.items()))
    key = serving.api_key_secret_ref
    return Follow(resource.namespace, selector, serving.port, model, (key.name, key.key) if key else None)


def desired(state: ServingStatus, spec: ZOFineTuneSpec, stored: DesiredState | None) -> DesiredState | None:
    """What the replicas are to be told; nothing where the first version waits for approval. The settings of S3 are
    the spec's as long as the log is the spec's."""
    target, uri, members = target_of(state), state.log_uri or spec.storage.uri, list[str]()
    if target is None:
        raise ValueError("a rollout has a target")
    present = target
    if state.stage == "Canary":
        past = before(state)
        if past is None:
            return None
        members = state.canary if past.uri == uri else []
        present, uri = past.target, past.uri
    s3 = manifest.without_secrets(spec.storage.s3)
    if uri != spec.storage.uri and stored is not None and stored.uri == uri:
        s3 = stored.s3
    first = Canary(target=target, members=tuple(members)) if members else None
    return DesiredState(format_version=1, name=state.model_name, uri=uri, s3=s3, target=present, canary=first)


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
    rollout: Rollout,
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
    return state, condition(state, counted), due(state, rollout, counted, now)


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
