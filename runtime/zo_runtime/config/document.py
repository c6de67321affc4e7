"""The `ZOFineTune` document: what `zo run` and `kubectl apply` both read."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from zo_runtime.config.base import SpecModel
from zo_runtime.config.data import Data
from zo_runtime.config.gate import Gate
from zo_runtime.config.model import Model
from zo_runtime.config.objective import Objective
from zo_runtime.config.optimizer import Evaluation, Optimizer
from zo_runtime.config.storage import Storage
from zo_runtime.rounds.contract import RoundOrder

API_VERSION = "zofinetune.io/v1alpha1"
KIND = "ZOFineTune"


class Metrics(SpecModel):
    """The runtime's HTTP port: `/metrics`, `/progress`, `/healthz`."""

    port: Annotated[int, Field(ge=0, le=65535)] = 9464
    """Port to listen on; 0 turns it off. Default: 9464."""
    host: str = "127.0.0.1"
    """Address to listen on. A cluster sets it to all addresses of the pod. Default: 127.0.0.1."""


class RunSpec(SpecModel):
    """The part of `spec` that the runtime itself obeys, on any machine."""

    model: Model
    """The base model."""
    data: Data
    """The training and held-out data."""
    objective: Objective
    """From records to a loss."""
    optimizer: Optimizer
    """The zeroth-order method."""
    evaluation: Evaluation = Evaluation()
    """Evaluation, early stop and the bound on divergence."""
    gate: Gate | None = None
    """What the last version has to show before it may be served. Default: none; every version may be served."""
    storage: Storage
    """The delta log."""
    metrics: Metrics = Metrics()
    """The HTTP port of the runtime."""

    @model_validator(mode="after")
    def _metric_exists(self) -> Self:
        if self.gate and self.gate.metric == "accuracy" and self.objective.classification is None:
            raise ValueError("gate.metric: a completion has no accuracy: compare the loss")
        return self


class Metadata(SpecModel):
    """Kubernetes object metadata; the runtime reads the name only."""

    model_config = ConfigDict(extra="allow")
    name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
    """Name of the resource."""


class Document(SpecModel):
    """A whole `ZOFineTune` manifest as the runtime sees it: cluster-only fields are set aside before."""

    api_version: Literal["zofinetune.io/v1alpha1"]
    """Always `zofinetune.io/v1alpha1`."""
    kind: Literal["ZOFineTune"]
    """Always `ZOFineTune`."""
    metadata: Metadata
    """The object's metadata."""
    spec: RunSpec
    """What to run."""
    round: RoundOrder | None = None
    """The round to run, which the operator writes. Default: a run without rounds, on all of the data."""
    status: dict[str, Any] | None = None
    """Written by the operator, ignored by the runtime."""


# Fields of `spec` that only a cluster needs: `zo run` accepts and ignores them with one line.
CLUSTER_FIELDS = (
    "runtime",
    "suspend",
    "ttlSecondsAfterFinished",
    "activeDeadlineSeconds",
    "backoffLimit",
    "queueName",
    "serving",
    "schedule",
    "rollout",
    "deletionPolicy",
)
