"""CEL rules of the CRD: what a schema alone cannot say. They stand in for admission webhooks.

What may change after creation is decided here, field by field. A delta log is a chain of updates to one base
model by one method on one objective, and the runtime continues no other's (`zo_runtime.deltalog.identity`): those
fields may change together with `storage.uri` only. `queueName` may change while the resource is suspended, because
Kueue holds a running Job to its queue. Everything else may change at any time; data, evaluation and the log's URI
begin a new round.
"""

from __future__ import annotations

from dataclasses import dataclass

S3_URI = "^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?$"

# What a log is bound to: the base model, the objective, the method, and the order of the examples.
REQUIRED_IDENTITY = (
    "model.name",
    "model.dtype",
    "model.maxLength",
    "data.seed",
    "objective",
    "optimizer.steps",
    "optimizer.batchSize",
    "optimizer.learningRate",
    "optimizer.schedule",
    "optimizer.epsilon",
    "optimizer.directions",
    "optimizer.rank",
    "optimizer.subspaces",
    "optimizer.interval",
    "optimizer.distribution",
    "optimizer.weightDecay",
    "optimizer.targetModules",
    "optimizer.seed",
)
OPTIONAL_IDENTITY = ("model.revision", "optimizer.momentum", "optimizer.clip")
LOG_IDENTITY = REQUIRED_IDENTITY + OPTIONAL_IDENTITY


@dataclass(frozen=True, slots=True)
class Rule:
    """One validation rule. `at` is the object below `spec` that it looks at, `field` the path below `at` that its
    error names; the message is a sentence with the remedy."""

    at: str
    rule: str
    message: str
    field: str | None = None

    def to_schema(self) -> dict[str, str]:
        """An entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": self.message}
        return entry | ({"fieldPath": f".{self.field}"} if self.field else {})


def _same(field: str) -> str:
    """Whether an optional field is absent from both, or in both and equal."""
    old, new = f"oldSelf.{field}", f"self.{field}"
    return f"has({new}) == has({old}) && (!has({new}) || {new} == {old})"


def _bound_to_log(field: str) -> Rule:
    same = _same(field) if field in OPTIONAL_IDENTITY else f"self.{field} == oldSelf.{field}"
    return Rule(
        at="",
        rule=f"self.storage.uri != oldSelf.storage.uri || ({same})",
        message=f"spec.{field} belongs to the log at spec.storage.uri: choose another storage.uri to change it",
        field=field,
    )


def _uri(at: str, name: str) -> Rule:
    return Rule(
        at=at,
        rule=f"self.uri.startsWith('s3://') ? self.uri.matches('{S3_URI}') : !self.uri.contains('://')",
        message=f"spec.{name}: give a path, or s3://bucket/prefix",
        field="uri",
    )


def _inside_claim(at: str, field: str) -> Rule:
    return Rule(
        at=at,
        rule=(
            f"!has(self.persistentVolumeClaim) || (!self.{field}.startsWith('/') && "
            f"!self.{field}.contains('..') && !self.{field}.contains('://'))"
        ),
        message=f"spec.{at}.{field} must be relative to persistentVolumeClaim, without a leading slash or '..'",
        field=field,
    )


def _plain_sub_path(at: str) -> Rule:
    return Rule(
        at=at,
        rule="!self.subPath.startsWith('/') && !self.subPath.contains('..')",
        message=f"spec.{at}.subPath must be relative, without '..'",
        field="subPath",
    )


_SOURCES = ("data.train", "data.evaluation", "gate.regression.source")
_CLAIMS = (
    "model.persistentVolumeClaim",
    "data.train.persistentVolumeClaim",
    "data.evaluation.persistentVolumeClaim",
    "gate.regression.source.persistentVolumeClaim",
    "runtime.cacheVolume.persistentVolumeClaim",
)

RULES: tuple[Rule, ...] = (
    *(_bound_to_log(field) for field in LOG_IDENTITY),
    Rule(
        at="",
        rule=f"({_same('queueName')}) || (has(oldSelf.suspend) && oldSelf.suspend)",
        message="spec.queueName may change only while spec.suspend is true: suspend first",
        field="queueName",
    ),
    Rule(
        at="objective",
        rule="has(self.classification) != has(self.completion)",
        message="spec.objective: give exactly one of `classification` and `completion`",
    ),
    Rule(
        at="",
        rule="!has(self.gate) || self.gate.metric != 'accuracy' || has(self.objective.classification)",
        message="spec.gate.metric: a completion has no accuracy: compare the loss",
        field="gate.metric",
    ),
    Rule(
        at="schedule",
        rule="has(self.cron) || has(self.freshData)",
        message="spec.schedule: give `cron`, `freshData` or both",
    ),
    Rule(
        at="schedule.freshData",
        rule="has(self.examples) || has(self.ageSeconds)",
        message="spec.schedule.freshData: give `examples`, `ageSeconds` or both",
    ),
    _uri("storage", "storage.uri"),
    *(_uri(at, f"{at}.uri") for at in _SOURCES),
    *(_inside_claim(at, "uri") for at in _SOURCES),
    _inside_claim("model", "name"),
    *(_plain_sub_path(at) for at in _CLAIMS),
    Rule(
        at="storage.s3",
        rule="!has(self.endpoint) || self.endpoint.matches('^https?://[^/?#]+(/.*)?$')",
        message="spec.storage.s3.endpoint must be a URL: https://host or https://host:port",
        field="endpoint",
    ),
    Rule(
        at="storage.s3",
        rule="!(has(self.caFile) && has(self.caSecretRef))",
        message="spec.storage.s3.caFile and caSecretRef exclude each other: in a cluster give caSecretRef",
        field="caFile",
    ),
    Rule(
        at="runtime",
        rule=(
            "!has(self.volumeMounts) || "
            "self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))"
        ),
        message="spec.runtime.volumeMounts: every mount must name a volume of spec.runtime.volumes",
        field="volumeMounts",
    ),
    Rule(
        at="runtime",
        rule="!has(self.volumes) || !self.volumes.exists(v, v.name.startsWith('zo-'))",
        message="spec.runtime.volumes: names that start with `zo-` are the operator's: choose another name",
        field="volumes",
    ),
    Rule(
        at="runtime.cacheVolume",
        rule="!(has(self.persistentVolumeClaim) && has(self.sizeLimit))",
        message="spec.runtime.cacheVolume.sizeLimit is for an emptyDir: leave it out with persistentVolumeClaim",
        field="sizeLimit",
    ),
    Rule(
        at="serving.rollout",
        rule="!has(self.checks) || self.checks.all(c, has(c.prometheus) != has(c.heldOut))",
        message="spec.serving.rollout.checks: each takes exactly one of `prometheus` and `heldOut`",
        field="checks",
    ),
    Rule(
        at="serving.rollout",
        rule="!has(self.checks) || self.checks.all(c, self.checks.exists_one(d, d.name == c.name))",
        message="spec.serving.rollout.checks: two have the same name: give each one of its own",
        field="checks",
    ),
    Rule(
        at="",
        rule=(
            "!has(self.objective.completion) || !has(self.serving) || !has(self.serving.rollout) || "
            "!has(self.serving.rollout.checks) || "
            "self.serving.rollout.checks.all(c, !has(c.heldOut) || has(c.heldOut.maxLossIncrease))"
        ),
        message="spec.serving.rollout.checks: with objective.completion, heldOut needs maxLossIncrease: give it",
        field="serving.rollout.checks",
    ),
)
