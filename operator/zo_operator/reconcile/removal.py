"""Removing the log of a deleted resource, step by step, from its cleanup record."""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from zo_operator import names
from zo_operator.manifests.cleanup import cleanup_job
from zo_operator.manifests.document import FILE
from zo_operator.manifests.metadata import Object
from zo_operator.reconcile import pods as podfacts
from zo_operator.reconcile.observed import Action, Apply, Delete, Observed, Resource
from zo_operator.reconcile.view import job_end


def find_record(observed: Observed) -> Object | None:
    """The cleanup record among the observed ConfigMaps."""
    return next((found for found in observed.config_maps if _component(found) == names.COMPONENT_CLEANUP), None)


def resource_of(record: Object) -> Resource:
    """The deleted resource, as far as its record knows it."""
    meta = record["metadata"]
    name = meta["annotations"][names.ANNOTATION_RESOURCE]
    head = {"name": name, "namespace": meta["namespace"], "uid": meta["labels"][names.LABEL_UID]}
    return Resource({"metadata": head})


def log_uri(record: Object) -> str:
    """The log that the record is about."""
    return str(yaml.safe_load(record["data"][FILE])["spec"]["storage"]["uri"])


def in_use(record: Object, resources: Iterable[Object]) -> bool:
    """Whether another resource has taken over the log: then nothing may remove it."""
    uri = log_uri(record).rstrip("/")
    specs = (other.get("spec") or {} for other in resources)
    return any(str((spec.get("storage") or {}).get("uri", "")).rstrip("/") == uri for spec in specs)


def plan_removal(record: Object, observed: Observed, *, taken: bool) -> tuple[Action, ...]:
    """The next step, once the resource is known to be gone. `taken`: another resource uses the log."""
    meta = record["metadata"]
    forget = Delete("ConfigMap", meta["name"], meta["uid"])
    if taken:
        return (forget,)
    writers = [pod for pod in observed.pods if _component(pod) == names.COMPONENT_RUNTIME and podfacts.alive(pod)]
    if writers or any(_component(job) == names.COMPONENT_RUNTIME for job in observed.jobs):
        return ()
    job = next((job for job in observed.jobs if _component(job) == names.COMPONENT_CLEANUP), None)
    if job is None:
        return (Apply(cleanup_job(record)),)
    end = job_end(job)
    return (forget,) if end is not None and end.succeeded else ()


def failed_job(observed: Observed) -> str | None:
    """Name of the cleanup Job, if it has failed for good."""
    for job in observed.jobs:
        end = job_end(job) if _component(job) == names.COMPONENT_CLEANUP else None
        if end is not None and not end.succeeded:
            return str(job["metadata"]["name"])
    return None


def _component(child: Object) -> str:
    return str((child["metadata"].get("labels") or {}).get(names.LABEL_COMPONENT, ""))
