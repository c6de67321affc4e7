"""Rounds: when one begins, when its pods are replaced, and how it is named.

Two hashes decide. `round_hash` covers what is learned; `template_hash` covers the pods. Both leave out fields
that have their default, so that an operator with new optional fields sees the same rounds in old resources.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from zo_operator import names
from zo_operator.api.schedule_status import RoundVersion, ScheduleStatus, Trigger
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Round, Status
from zo_operator.reconcile.observed import Resource
from zo_runtime.config.document import RunSpec
from zo_runtime.rounds.contract import RoundOrder, VersionReference

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
    """The rounds as the spec wants them, newest first, with the current one in front; none before the first round
    of a schedule, which begins them by itself.

    A new round begins with the resource, when what is learned changes, and, after a failure, when the pods
    change. A change of the pods alone gives an unfinished round another Job, and leaves a completed one as is. Under
    a schedule, a change of what is learned replaces a round that runs, and otherwise waits for the next.
    """
    wanted, template = round_hash(spec, resource.restart), template_hash(spec)
    history = list(resource.status.rounds)
    if not history:
        return [] if spec.schedule is not None else [_begin(resource, spec, [], None)]
    head, *past = history
    if _starts_anew(head, spec, wanted, template):
        if head.outcome is None:
            head = superseded(head, resource.status, now, "SpecChanged")
        history = [head, *past]
        order = _Order(head.trigger or "Manual", head.data_records) if _ordered(spec, history) else None
        return trim([_begin(resource, spec, history, order), *history], spec, limit)
    if head.outcome is None and head.template_hash != template:
        head = head.model_copy(update={"template_hash": template})
        head = head.model_copy(update={"job": _job_name(resource, head)})
    return trim([head, *past], spec, limit)


def _starts_anew(head: Round, spec: ZOFineTuneSpec, wanted: str, template: str) -> bool:
    if head.outcome == "Failed":
        return head.hash != wanted or head.template_hash != template
    if head.outcome is not None and spec.schedule is not None:
        return False
    return head.hash != wanted or head.outcome == "Superseded"


def begin(
    resource: Resource,
    spec: ZOFineTuneSpec,
    history: list[Round],
    trigger: Trigger,
    records: int,
    found: ScheduleStatus,
) -> Round:
    """The next round of a schedule, which so many fresh records wait for. `found` has what the log itself knows."""
    return _begin(resource, spec, history, _Order(trigger, records, found.log_round or 0, found.log_version))


@dataclass(frozen=True, slots=True)
class _Order:
    trigger: Trigger
    records: int | None
    log_round: int = 0
    log_version: RoundVersion | None = None


def _begin(resource: Resource, spec: ZOFineTuneSpec, history: list[Round], order: _Order | None) -> Round:
    made = Round(
        number=1 + max(history[0].number if history else 0, order.log_round if order else 0),
        hash=round_hash(spec, resource.restart),
        template_hash=template_hash(spec),
        job="",
    )
    if order is not None:
        served = served_version(resource, spec, history, order.log_version)
        warm = spec.schedule is None or spec.schedule.warm_start
        update = {"trigger": order.trigger, "data_records": order.records, "log_uri": spec.storage.uri}
        made = made.model_copy(update=update | {"served": served, "base": served if warm else None})
    return made.model_copy(update={"job": _job_name(resource, made)})


def _ordered(spec: ZOFineTuneSpec, history: list[Round]) -> bool:
    """Whether the runtime is told what a round continues from: by a schedule, and for ever in a log that had one,
    where the last version may be one that was rejected."""
    return spec.schedule is not None or any(past.trigger and _same_log(past.log_uri, spec) for past in history)


def served_version(
    resource: Resource, spec: ZOFineTuneSpec, history: list[Round], in_log: RoundVersion | None
) -> RoundVersion | None:
    """The version of the spec's log that is served now; without serving, the newest that may be; in a log of which
    this resource has no round yet, what the log itself says (`in_log`). None: the base model."""
    serving = resource.status.serving if spec.serving is not None else None
    told = _version(serving.version, serving.sha256) if serving is not None else None
    if serving is not None and told is not None and _same_log(serving.log_uri, spec):
        return told
    here = [past for past in history if _same_log(past.log_uri, spec)]
    for past in here:
        told = _version(past.version, past.version_sha256)
        if past.outcome == "Completed" and told is not None:
            return told
    # The log calls a version accepted that was rolled back later, so it has no say once there is a round.
    return here[0].served if here else in_log


def _version(number: int | None, sha256: str | None) -> RoundVersion | None:
    return None if number is None or sha256 is None else RoundVersion(version=number, sha256=sha256)


def _same_log(uri: str | None, spec: ZOFineTuneSpec) -> bool:
    return uri is None or uri.rstrip("/") == spec.storage.uri.rstrip("/")


def order_of(current: Round) -> RoundOrder | None:
    """What the runtime is told of a scheduled round."""
    if current.trigger is None:
        return None
    return RoundOrder(number=current.number, base=_reference(current.base), served=_reference(current.served))


def _reference(version: RoundVersion | None) -> VersionReference | None:
    return None if version is None else VersionReference(version=version.version, sha256=version.sha256)


def _job_name(resource: Resource, current: Round) -> str:
    """The uid keeps a resource that was made anew away from what its namesake left behind; the order keeps a round
    that was planned twice, by an operator that died in between, from running on what was planned first."""
    order = order_of(current)
    told = order.model_dump_json(by_alias=True, exclude_none=True) if order is not None else ""
    content = resource.uid + current.hash + current.template_hash + told
    return names.job(resource.name, current.number, content)


def trim(rounds: list[Round], spec: ZOFineTuneSpec, limit: int) -> list[Round]:
    """The rounds worth keeping: with a schedule so many completed ones and so many others, and the current one."""
    if spec.schedule is None:
        return rounds[:limit]
    room = {True: spec.schedule.successful_rounds_history_limit, False: spec.schedule.failed_rounds_history_limit}
    kept = []
    for index, each in enumerate(rounds):
        completed = each.outcome == "Completed"
        if index == 0 or room[completed] > 0:
            kept.append(each)
        room[completed] -= each.outcome is not None
    return kept


def superseded(head: Round, status: Status, now: str, reason: str, message: str | None = None) -> Round:
    """A round that ends because another takes its place, or none, with what it had reached."""
    update = {
        "outcome": "Superseded",
        "reason": reason,
        "message": message,
        "completion_time": now,
        "steps": status.step,
        "accuracy_before": status.accuracy_before,
        "accuracy_after": status.accuracy_after,
        "loss_after": status.held_out_loss,
        "version": status.version,
        "digest": status.digest,
    }
    return head.model_copy(update=update)
