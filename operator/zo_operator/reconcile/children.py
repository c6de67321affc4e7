"""Actions on children: what to make, change and remove so that the world fits the current round."""

from __future__ import annotations

from collections.abc import Iterator

from zo_operator import names
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Round
from zo_operator.manifests import cleanup, document, job, service
from zo_operator.manifests.metadata import Object
from zo_operator.reconcile.observed import Action, Apply, Defaults, Delete, Kind, Observed, Patch, Resource
from zo_operator.reconcile.rounds import order_of
from zo_operator.reconcile.view import View, is_suspended


def actions(
    resource: Resource,
    spec: ZOFineTuneSpec,
    current: Round | None,
    view: View,
    observed: Observed,
    defaults: Defaults,
) -> Iterator[Action]:
    """In the order in which they are to be carried out: stop what is old before anything new starts."""
    for other in view.other_jobs:
        yield from remove("Job", other)
    yield from _stray_config_maps(current, view, observed)
    yield from _cleanup_record(resource, spec, observed, defaults)
    if current is None:
        return
    if current.outcome is not None:
        yield from _retire(resource, spec, current, view)
    elif spec.suspend:
        yield from _hold(spec, view)
    elif not view.blocked and not view.job_deleting:
        yield from _run(resource, spec, current, view, observed, defaults)


def _stray_config_maps(current: Round | None, view: View, observed: Observed) -> Iterator[Action]:
    """ConfigMaps of rounds that are over; one goes after its Job."""
    used = {other["metadata"]["name"] for other in view.other_jobs}
    if current is not None and (current.outcome is None or view.job is not None):
        used.add(current.job)
    for found in observed.config_maps:
        labels = found["metadata"].get("labels") or {}
        if labels.get(names.LABEL_COMPONENT) == names.COMPONENT_RUNTIME and found["metadata"]["name"] not in used:
            yield from remove("ConfigMap", found)


def _cleanup_record(
    resource: Resource, spec: ZOFineTuneSpec, observed: Observed, defaults: Defaults
) -> Iterator[Action]:
    name = names.cleanup(resource.name)
    stored = next((found for found in observed.config_maps if found["metadata"]["name"] == name), None)
    if spec.deletion_policy == "Delete":
        wanted = cleanup.record(resource.owner, spec, defaults.runtime_image)
        if stored is None or stored.get("data") != wanted["data"]:
            yield Apply(wanted)
    elif stored is not None:
        yield from remove("ConfigMap", stored)


def _retire(resource: Resource, spec: ZOFineTuneSpec, current: Round, view: View) -> Iterator[Action]:
    """Let Kubernetes remove the Job in its time, once the stored status has the result; stop one that runs and has
    no more to do."""
    if view.job is not None and view.end is None:
        yield from remove("Job", view.job)
        return
    recorded = any(past.number == current.number and past.outcome for past in resource.status.rounds)
    if view.job is None or view.job_deleting or view.end is None or not recorded:
        return
    if view.job["spec"].get("ttlSecondsAfterFinished") != spec.ttl_seconds_after_finished:
        yield _patch(view.job, {"ttlSecondsAfterFinished": spec.ttl_seconds_after_finished})


def _hold(spec: ZOFineTuneSpec, view: View) -> Iterator[Action]:
    """Stop the pods. A queued Job is Kueue's to unsuspend, so it is removed instead of fought over."""
    if view.job is None or view.job_deleting or view.end is not None:
        return
    if spec.queue_name:
        yield from remove("Job", view.job)
    elif not is_suspended(view.job):
        yield _patch(view.job, {"suspend": True})


def _run(
    resource: Resource,
    spec: ZOFineTuneSpec,
    current: Round,
    view: View,
    observed: Observed,
    defaults: Defaults,
) -> Iterator[Action]:
    owner = resource.owner
    wanted_service = service.service(owner, spec.metrics.port)
    if not any(_serves(found, wanted_service) for found in observed.services):
        yield Apply(wanted_service)
    if not any(found["metadata"]["name"] == current.job for found in observed.config_maps):
        yield Apply(document.config_map(owner, spec, current.job, order_of(current)))
    if view.job is None:
        yield Apply(job.job(owner, spec, current.job, defaults.runtime_image))
        return
    # The template of a Job never changes, and a queued Job's `suspend` is Kueue's.
    wanted = job.mutable(spec) | ({} if spec.queue_name else {"suspend": False})
    changed = {key: value for key, value in wanted.items() if (view.job["spec"].get(key) or None) != (value or None)}
    if changed and view.end is None:
        yield _patch(view.job, changed)


def _serves(found: Object, wanted: Object) -> bool:
    """Whether a stored Service is the wanted one; fields that the API server filled in do not matter."""
    if found["metadata"]["name"] != wanted["metadata"]["name"]:
        return False
    have, want = found.get("spec", {}), wanted["spec"]
    ports = [
        {key: port.get(key) for key in ("name", "port", "targetPort", "protocol")} for port in have.get("ports", ())
    ]
    return bool(have.get("selector") == want["selector"] and ports == want["ports"])


def _patch(found: Object, spec: Object) -> Patch:
    return Patch("Job", found["metadata"]["name"], {"spec": spec})


def remove(kind: Kind, found: Object) -> Iterator[Action]:
    """Delete an object that is not on its way out already."""
    meta = found["metadata"]
    if "deletionTimestamp" not in meta:
        yield Delete(kind, meta["name"], meta["uid"])
