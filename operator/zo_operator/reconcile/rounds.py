"""Rounds: when one begins, when its pods are replaced, and how it is named.

Two hashes decide. `round_hash` covers what is learned; `template_hash` covers the pods. Both leave out fields
that have their default, so that an operator with new optional fields sees the same rounds in old resources.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from zo_operator import names
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Round, Status
from zo_operator.reconcile.observed import Resource
from zo_runtime.config.document import RunSpec

# Parts of the run's spec that say how, but not what, is learned. The gate judges what was learned.
_HOW: dict[str, Any] = {"metrics": True, "gate": True, "storage": {"s3", "flush"}}
_TEMPLATE: dict[str, Any] = _HOW | {"runtime": True, "queue_name": True}


def round_hash(spec: ZOFineTuneSpec, restart: str) -> str:
    """Identifies what a round learns. `restart` is the annotation's value, empty where there is none."""
    content = spec.model_dump(
        mode="json", by_alias=True, include=set(RunSpec.model_fields), exclude=_HOW, exclude_defaults=True
    )
    return _hash(content | ({"restart": restart} if restart else {}))


def template_hash(spec: ZOFineTuneSpec) -> str:
    """Identifies the pods of a round, and the queue that they wait in."""
    return _hash(spec.model_dump(mode="json", by_alias=True, include=_TEMPLATE, exclude_defaults=True))


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def advance(resource: Resource, spec: ZOFineTuneSpec, now: str, limit: int) -> list[Round]:
    """The rounds as they should be, newest first, with the current one in front.

    A new round begins with the resource, when what is learned changes, and, after a failure, when the pods
    change. A change of the pods alone gives an unfinished round another Job, and leaves a completed one as is.
    """
    wanted, template = round_hash(spec, resource.restart), template_hash(spec)
    history = list(resource.status.rounds)
    if not history:
        return [_begin(resource, 1, wanted, template)]
    head, *past = history
    if head.hash != wanted or (head.outcome == "Failed" and head.template_hash != template):
        if head.outcome is None:
            head = _superseded(head, resource.status, now)
        return [_begin(resource, head.number + 1, wanted, template), head, *past][:limit]
    if head.outcome is None and head.template_hash != template:
        name = _job_name(resource, head.number, wanted, template)
        head = head.model_copy(update={"template_hash": template, "job": name})
    return [head, *past][:limit]


def _begin(resource: Resource, number: int, wanted: str, template: str) -> Round:
    name = _job_name(resource, number, wanted, template)
    return Round(number=number, hash=wanted, template_hash=template, job=name)


def _job_name(resource: Resource, number: int, wanted: str, template: str) -> str:
    """The uid keeps a resource that was made anew away from what its namesake left behind."""
    return names.job(resource.name, number, resource.uid + wanted + template)


def _superseded(head: Round, status: Status, now: str) -> Round:
    """A round that a change of the spec ended, with what it had reached."""
    update = {
        "outcome": "Superseded",
        "reason": "SpecChanged",
        "completion_time": now,
        "steps": status.step,
        "accuracy_before": status.accuracy_before,
        "accuracy_after": status.accuracy_after,
        "loss_after": status.held_out_loss,
        "version": status.version,
        "digest": status.digest,
    }
    return head.model_copy(update=update)
