"""The Jobs that score a canary on held-out examples: which one is to run, and what it has found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from zo_operator import names
from zo_operator.api.checks import Check
from zo_operator.api.serving_status import CheckStatus, ServingStatus
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.manifests import check as manifest
from zo_operator.manifests.metadata import Object
from zo_operator.reconcile import checks
from zo_operator.reconcile import pods as podfacts
from zo_operator.reconcile.children import remove
from zo_operator.reconcile.goal import Goal
from zo_operator.reconcile.observed import Action, Apply, Kind, Observed, Resource, parse_time
from zo_operator.reconcile.questions import Finding
from zo_operator.reconcile.replicas import Aim, Survey, stand
from zo_operator.reconcile.view import job_end
from zo_runtime.rounds.check_result import CheckResult


@dataclass(frozen=True, slots=True)
class Findings:
    """What Jobs that have ended found, by check; `refresh`: a Job has ended, and its pod is not in the cache yet."""

    found: dict[str, Finding]
    refresh: bool = False


def job_name(resource: Resource, check: Check, goal: Goal, model: str, number: int) -> str:
    """Name of the Job of one attempt."""
    subject = [resource.uid, checks.definition(check), goal.uri, goal.target.sha256, model, number]
    return names.check(resource.name, json.dumps(subject))


def findings(
    resource: Resource,
    wished: list[Check],
    statuses: list[CheckStatus],
    goal: Goal,
    model: str,
    observed: Observed,
) -> Findings:
    """What the present attempts have come to."""
    found: dict[str, Finding] = {}
    refresh = False
    for check, status in zip(wished, statuses, strict=True):
        if check.held_out is None:
            continue
        name = job_name(resource, check, goal, model, status.asked + 1)
        end = job_end(_named(observed.jobs, name))
        if end is None:
            continue
        result = _result(podfacts.of_job(observed.pods, name))
        if result is None and not observed.live:
            refresh = True
        elif result is not None and result.ok:
            found[check.name] = Finding("Pass" if result.passed else "Fail", result.message)
        else:
            reason = (result.reason, result.message) if result is not None else (end.reason, end.message)
            found[check.name] = Finding("Unclear", ": ".join(filter(None, reason)))
    return Findings(found, refresh)


def actions(
    resource: Resource,
    spec: ZOFineTuneSpec,
    state: ServingStatus,
    goal: Goal,
    survey: Survey | None,
    observed: Observed,
    image: str,
    now: datetime,
) -> Iterator[Action]:
    """Start what is due and remove what is over; the last attempt of a check stays as long as its version is tried,
    so that people can read its output."""
    kept: set[str] = set()
    wished = spec.serving.rollout.checks if spec.serving and state.stage == "Canary" else []
    known = {status.name: status for status in state.checks}
    for check in wished:
        status = known.get(check.name)
        if check.held_out is None or status is None:
            continue
        kept |= {job_name(resource, check, goal, state.model_name, status.asked + more) for more in (0, 1)}
        if (replica := _replica(spec, state, goal, survey)) is not None and _is_due(check, status, state, now):
            name = job_name(resource, check, goal, state.model_name, status.asked + 1)
            if _named(observed.config_maps, name) is None:
                yield Apply(manifest.config_map(resource.owner, spec, name))
            if _named(observed.jobs, name) is None:
                target, model = goal.target, state.model_name
                yield Apply(manifest.job(resource.owner, spec, name, image, check, replica, model, target))
    yield from _strays("Job", observed.jobs, kept)
    yield from _strays("ConfigMap", observed.config_maps, kept)


def remove_all(observed: Observed) -> Iterator[Action]:
    """Leave no Job of a check."""
    yield from _strays("Job", observed.jobs, set())
    yield from _strays("ConfigMap", observed.config_maps, set())


def _is_due(check: Check, status: CheckStatus, state: ServingStatus, now: datetime) -> bool:
    if state.canary_ready_time is None:
        return False
    moment = checks.due(check, status, parse_time(state.canary_ready_time))
    return moment is not None and now >= moment


def _replica(spec: ZOFineTuneSpec, state: ServingStatus, goal: Goal, survey: Survey | None) -> str | None:
    """URL of the first canary that serves the version."""
    if survey is None or spec.serving is None:
        return None
    aim = Aim(goal.target, goal.digest)
    for replica in survey.replicas:
        serving = replica.pod in state.canary and stand(replica, aim, state.model_name, late=False).kind == "Updated"
        if serving and replica.host is not None:
            host = f"[{replica.host}]" if ":" in replica.host else replica.host
            return f"http://{host}:{spec.serving.port}"
    return None


def _result(pods: list[Object]) -> CheckResult | None:
    """The newest account that a pod of the Job has left."""
    for pod in reversed(pods):
        try:
            return CheckResult.model_validate_json(podfacts.last_line(pod))
        except ValidationError:
            continue
    return None


def _named(found: tuple[Object, ...], name: str) -> Object | None:
    return next((one for one in found if one["metadata"]["name"] == name), None)


def _strays(kind: Kind, found: tuple[Object, ...], kept: set[str]) -> Iterator[Action]:
    for one in found:
        meta = one["metadata"]
        mine = (meta.get("labels") or {}).get(names.LABEL_COMPONENT) == names.COMPONENT_CHECK
        if mine and meta["name"] not in kept:
            yield from remove(kind, one)
