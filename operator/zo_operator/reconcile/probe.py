"""A look at the data: the probe Job of a schedule as observed, and the actions that keep exactly the wanted one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from zo_operator import names
from zo_operator.api.schedule_status import ProbeProblem
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Failure
from zo_operator.manifests import probe as manifest
from zo_operator.manifests.metadata import Object
from zo_operator.reconcile import pods as podfacts
from zo_operator.reconcile.children import remove
from zo_operator.reconcile.observed import Action, Apply, Defaults, Observed, Resource
from zo_operator.reconcile.rounds import round_hash, template_hash
from zo_operator.reconcile.view import JobEnd, job_end
from zo_runtime.errors import by_exit_code
from zo_runtime.rounds.contract import ProbeResult

# Reasons of a Job that say more than its last pod can.
_DEADLINE = "DeadlineExceeded"


@dataclass(frozen=True, slots=True)
class Look:
    """The probe Job of one number, with what its pods say."""

    job: Object | None
    end: JobEnd | None
    result: ProbeResult | None
    failure: Failure | None
    waiting: podfacts.Waiting | None

    @property
    def wordless(self) -> bool:
        """Whether it has ended and no pod says how: the pod may be seen a moment later than the Job."""
        if self.end is None or self.end.reason == _DEADLINE:
            return False
        return (self.result if self.end.succeeded else self.failure) is None


def content(resource: Resource, spec: ZOFineTuneSpec) -> str:
    """Identifies what a look is at, and from which pod."""
    return resource.uid + round_hash(spec, "") + template_hash(spec)


def look_at(resource: Resource, spec: ZOFineTuneSpec, number: int, observed: Observed) -> Look:
    """The probe Job of that number, if it is about the present spec."""
    name = names.probe(resource.name, number, content(resource, spec))
    job = next((job for job in observed.jobs if job["metadata"]["name"] == name), None)
    pods = podfacts.of_job(observed.pods, name)
    return Look(
        job=job,
        end=job_end(job),
        result=next((found for pod in reversed(pods) if (found := _result(pod)) is not None), None),
        failure=podfacts.last_failure(pods),
        waiting=podfacts.waiting(pods),
    )


def _result(pod: Object) -> ProbeResult | None:
    try:
        found = ProbeResult.model_validate_json(podfacts.last_line(pod))
    except ValidationError:
        return None
    return found if found.ok else None


def problem(look: Look) -> ProbeProblem | None:
    """Why a look that has ended found nothing out; none if it did."""
    if look.end is None or (look.end.succeeded and look.result is not None):
        return None
    if look.end.succeeded:
        remedy = "is spec.runtime.image of this release or later?"
        return ProbeProblem(reason="NoResult", message=f"the pod that looked at the data left no word: {remedy}")
    if look.failure is None or look.end.reason == _DEADLINE:
        return ProbeProblem(reason=look.end.reason, message=look.end.message)
    code = look.failure.exit_code
    error = by_exit_code().get(code) if code is not None else None
    final = error is not None and not error.retryable
    return ProbeProblem(reason=look.failure.reason, message=look.failure.message, final=final)


def probe_actions(
    resource: Resource,
    spec: ZOFineTuneSpec,
    number: int,
    observed: Observed,
    defaults: Defaults,
    *,
    wanted: bool,
    keep: bool,
) -> Iterator[Action]:
    """Make the probe Job of that number if it is `wanted`, and remove all others; one that has ended stays for its
    log, if asked to `keep` it, until the next one begins."""
    name = names.probe(resource.name, number, content(resource, spec))
    jobs = [job for job in observed.jobs if _is_probe(job)]
    mine = next((job for job in jobs if job["metadata"]["name"] == name), None)
    stays = wanted or (keep and mine is not None and job_end(mine) is not None)
    for job in jobs:
        if job is not mine or not stays:
            yield from remove("Job", job)
    for found in observed.config_maps:
        if _is_probe(found) and not (stays and found["metadata"]["name"] == name):
            yield from remove("ConfigMap", found)
    if not wanted or (mine is not None and "deletionTimestamp" in mine["metadata"]):
        return
    owner = resource.owner
    if not any(found["metadata"]["name"] == name for found in observed.config_maps):
        yield Apply(manifest.probe_config_map(owner, spec, name))
    if mine is None:
        yield Apply(manifest.probe_job(owner, spec, name, defaults.runtime_image))


def _is_probe(child: Object) -> bool:
    return (child["metadata"].get("labels") or {}).get(names.LABEL_COMPONENT) == names.COMPONENT_PROBE
