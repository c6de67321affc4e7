"""What removes a log when its resource is deleted with `deletionPolicy: Delete`.

A finalizer on the resource would do, but it blocks deletion for ever where the operator is gone. So there is a
record instead: a ConfigMap without an owner, made while the resource lives, that holds the manifest and the
Job to run. It stays when the resource goes; the operator, whenever it is back, runs the Job and removes the
record. The Job belongs to the record and goes with it.
"""

from __future__ import annotations

import json

from zo_operator import names
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.manifests.document import FILE, FOLDER, document
from zo_operator.manifests.metadata import Object, Owner, metadata
from zo_operator.manifests.small import small_pod

JOB_KEY = "job.json"


def record(owner: Owner, spec: ZOFineTuneSpec, image: str) -> Object:
    """The record of one resource."""
    head = metadata(owner, names.cleanup(owner.name), owned=False, component=names.COMPONENT_CLEANUP)
    head["annotations"] = {names.ANNOTATION_RESOURCE: owner.name}
    job = json.dumps(_job_spec(owner, spec, image), sort_keys=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": head,
        "data": {FILE: document(owner, spec), JOB_KEY: job},
    }


def _job_spec(owner: Owner, spec: ZOFineTuneSpec, image: str) -> Object:
    command = ["zo", "delete", f"{FOLDER}/{FILE}", "--yes"]
    template = small_pod(owner, spec, names.cleanup(owner.name), image, names.COMPONENT_CLEANUP, command)
    template["spec"]["restartPolicy"] = "OnFailure"
    return {"backoffLimit": 10, "template": template}


def cleanup_job(found: Object) -> Object:
    """The Job of a stored record."""
    head = found["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": head["name"], "uid": head["uid"]}
    owner = reference | {"controller": True, "blockOwnerDeletion": False}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": head["name"],
            "namespace": head["namespace"],
            "labels": head["labels"],
            "ownerReferences": [owner],
        },
        "spec": json.loads(found["data"][JOB_KEY]),
    }
