"""What the API server adds to and demands of the built-in kinds that the operator writes."""

from __future__ import annotations

import copy
import json
from functools import lru_cache
from typing import Any

import kubernetes_validate

Object = dict[str, Any]
OPENAPI = "1.36"

_JOB_DEFAULTS: Object = {
    "parallelism": 1,
    "completions": 1,
    "backoffLimit": 6,
    "completionMode": "NonIndexed",
    "suspend": False,
    "podReplacementPolicy": "TerminatingOrFailed",
}
# Mutable fields of a Job's spec, as in the API server's validation of updates.
_JOB_MUTABLE = {"parallelism", "suspend", "activeDeadlineSeconds", "ttlSecondsAfterFinished", "backoffLimit"}


def with_defaults(plural: str, body: Object, old: Object | None) -> Object:
    """The object as the API server would store it."""
    filled = copy.deepcopy(body)
    spec = filled.setdefault("spec", {}) if plural in ("jobs", "services", "pods") else {}
    if plural == "jobs":
        for key, value in _JOB_DEFAULTS.items():
            spec.setdefault(key, value)
        labels = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
        name = filled["metadata"]["name"]
        labels |= {"batch.kubernetes.io/job-name": name, "job-name": name}
        pod = spec["template"].setdefault("spec", {})
        pod.setdefault("dnsPolicy", "ClusterFirst")
        pod.setdefault("schedulerName", "default-scheduler")
    if plural == "services":
        spec |= {"type": spec.get("type", "ClusterIP"), "sessionAffinity": "None", "ipFamilies": ["IPv4"]}
        if spec.get("clusterIP") == "None":
            spec["clusterIPs"] = ["None"]
    return filled


def validate(plural: str, body: Object, old: Object | None) -> list[str]:
    """What is wrong with the object, or with its change."""
    wrong = _schema_errors(body)
    if plural == "jobs" and old is not None:
        wrong += _changed_job(old, body)
    if plural == "configmaps" and old is not None and old.get("immutable") and old.get("data") != body.get("data"):
        wrong.append("data: Forbidden: field is immutable when `immutable` is set")
    controllers = [ref for ref in body["metadata"].get("ownerReferences") or () if ref.get("controller")]
    if len(controllers) > 1:
        wrong.append("metadata.ownerReferences: Invalid value: Only one reference can have Controller set to true")
    for key, value in (body["metadata"].get("labels") or {}).items():
        if len(str(value)) > 63:
            wrong.append(f"metadata.labels[{key}]: Invalid value: must be no more than 63 characters")
    return wrong


def _changed_job(old: Object, new: Object) -> list[str]:
    before, after = old["spec"], new["spec"]
    fixed = {key for key in {*before, *after} if key not in _JOB_MUTABLE and before.get(key) != after.get(key)}
    return [f"spec.{key}: Invalid value: field is immutable" for key in sorted(fixed)]


def _schema_errors(body: Object) -> list[str]:
    """Unknown, missing and wrong fields, by Kubernetes' OpenAPI. Status writes change nothing that counts here."""
    meta = {key: value for key, value in body["metadata"].items() if key in ("name", "labels", "ownerReferences")}
    checked = {key: value for key, value in body.items() if key != "status"} | {"metadata": meta}
    return list(_checked(json.dumps(checked, sort_keys=True)))


@lru_cache(maxsize=256)
def _checked(text: str) -> tuple[str, ...]:
    try:
        kubernetes_validate.validate(json.loads(text), OPENAPI, strict=True)
    except kubernetes_validate.ValidationError as error:
        path = ".".join(str(part) for part in error.path)
        return (f"{path}: Invalid value: {error.message[:300]}",)
    return ()
