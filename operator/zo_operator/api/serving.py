"""`spec.serving`: the replicas that serve the adapter, and how a version reaches them."""

# ruff: noqa: RUF012 -- pydantic copies defaults

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zo_operator.api.checks import Checks
from zo_operator.api.types import INT_OR_STRING, LabelValue, ResourceName
from zo_runtime.config.base import NonNegativeInt, PositiveInt, SpecModel
from zo_runtime.serving.contract import ModelName, Target

_PERCENT = r"^(100|[1-9]?[0-9])%$"

ReplicaCount = Annotated[
    Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=_PERCENT)],
    Field(json_schema_extra={INT_OR_STRING: True, "pattern": _PERCENT, "maxLength": 4, "minimum": 0}),
]
"""A number of replicas, or a share of them such as `10%`, rounded up."""


class ApiKeyReference(SpecModel):
    """One key of a Secret in the resource's namespace."""

    name: ResourceName
    """Name of the Secret. The operator may read it only where the chart's `rbac.apiKeySecrets` lists it."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = "api-key"
    """Key in the Secret. Default: `api-key`."""


class Rollout(SpecModel):
    """How a new version reaches the replicas: some first, the others when those have served it for a while. The
    first version, a version of another log, and a `target` reach all replicas at once."""

    canary_replicas: ReplicaCount = 1
    """Replicas that switch first: a number, or a share such as `10%`. 0 switches all at once. Default: 1."""
    bake_seconds: NonNegativeInt = 60
    """Seconds that the first replicas serve the new version before the others get it. Default: 60."""
    progress_deadline_seconds: PositiveInt = 600
    """Seconds that a first replica may fail to load the version, or that all of them may be gone while others answer;
    then the version is rolled back. Default: 600."""
    approval: Literal["Automatic", "Manual"] = "Automatic"
    """`Manual` keeps every version from the other replicas until it is approved, by `approvedVersion` or by the
    annotation `zofinetune.io/approve`. Default: Automatic."""
    approved_version: PositiveInt | None = None
    """Number of the version that is approved. Default: none."""
    checks: Checks = []
    """What the first replicas have to pass; a version that does not is rolled back. Default: none."""

    @model_validator(mode="after")
    def _somebody_to_check(self) -> Self:
        if self.checks and self.canary_replicas in (0, "0%"):
            raise ValueError("checks need replicas that go first: raise canaryReplicas, or leave checks out")
        return self


class Serving(SpecModel):
    """The vLLM replicas that serve the adapter. They read what to serve from the ConfigMap `NAME-serving`, which
    the operator writes; it follows them, and changes nothing of theirs."""

    selector: Annotated[dict[str, LabelValue], Field(min_length=1, max_length=64)]
    """Labels of the pods that serve, in the resource's namespace. All of them must match."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """Port of vLLM's API. Default: 8000."""
    model_name: ModelName | None = None
    """Model name that clients call. Default: the resource's name."""
    api_key_secret_ref: ApiKeyReference | None = None
    """API key of the replicas, if they ask for one. Default: none."""
    target: Target | None = None
    """Serve this version, or a step of it, and no newer one: a rollback, or a version to stay at. It is one of the
    log at `storage.uri`. Default: the version that the newest completed round has published."""
    rollout: Rollout = Rollout()
    """How a new version reaches the replicas."""
