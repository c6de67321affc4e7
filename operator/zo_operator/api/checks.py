"""`spec.serving.rollout.checks`: what the first replicas have to pass before the others get a version."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from zo_operator.api.runtime import SecretKeyReference
from zo_runtime.config.base import Fraction, NonNegativeFloat, PositiveInt, SpecModel

_URL = r"^https?://[^/?#@\s]+(/[^?#\s]*)?$"
Bound = Annotated[float, Field(allow_inf_nan=False)]


class PrometheusCheck(SpecModel):
    """An instant query that the operator asks again and again while the first replicas serve the version. Every
    value of the answer has to lie within `min` and `max`; without both, it has to be other than 0, and an answer
    without values, as of a comparison that does not hold, is a failure."""

    url: Annotated[str, Field(max_length=2048, pattern=_URL)]
    """Base URL of Prometheus, or of what speaks its API: `http://prometheus.monitoring:9090`."""
    query: Annotated[str, Field(min_length=1, max_length=4096)]
    """PromQL. Replaced are `{pods}` by a regular expression of the first replicas' names, `{namespace}` by theirs,
    `{model}` by the model name and `{version}` by the version's number."""
    min: Bound | None = None
    """Smallest value that passes. Default: no bound."""
    max: Bound | None = None
    """Largest value that passes. Default: no bound."""
    token_secret_ref: SecretKeyReference | None = None
    """Bearer token. The operator may read the Secret only where the chart's `rbac.apiKeySecrets` lists it. Default:
    none."""
    interval_seconds: PositiveInt = 60
    """Seconds from the moment when the first replicas serve the version to the first question, and from one question
    to the next. Default: 60."""
    failure_limit: Annotated[int, Field(ge=1, le=1000)] = 3
    """Failures, not necessarily in a row, after which the version is rolled back. Default: 3."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: nothing could pass")
        return self


class HeldOutCheck(SpecModel):
    """A small Job scores the held-out examples of the version's round through one of the first replicas, and
    compares with the evaluation in the log and with `minAccuracy`. One failure rolls the version back."""

    examples: PositiveInt | None = None
    """Score at most this many examples. Default: those of the version's evaluation."""
    max_accuracy_drop: Fraction = 0.02
    """Largest loss of accuracy against the log, 0 to 1; with fewer examples than the evaluation had, what drawing
    them can explain is allowed on top. Without meaning for `objective.completion`. Default: 0.02."""
    max_loss_increase: NonNegativeFloat | None = None
    """Largest rise of the mean loss against the log, in nats. Default: no bound; `objective.completion` needs one."""
    min_accuracy: Fraction | None = None
    """Smallest accuracy of the replica, 0 to 1, whatever the log says: it holds back a version that is bad and whose
    log says so, which the other bounds let through. Without meaning for `objective.completion`. Default: no bound."""


class Check(SpecModel):
    """One check: exactly one of `prometheus` and `heldOut`."""

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """Name of the check, as status and events tell it."""
    prometheus: PrometheusCheck | None = None
    """Ask Prometheus."""
    held_out: HeldOutCheck | None = None
    """Score held-out examples."""
    timeout_seconds: PositiveInt = 600
    """Seconds that the check may go without a clear answer (Prometheus is out of reach or has no data, the Job cannot
    run); the version waits meanwhile, and is rolled back afterwards. Default: 600."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.prometheus is None) == (self.held_out is None):
            raise ValueError("give exactly one of `prometheus` and `heldOut`")
        return self


Checks = Annotated[
    list[Check],
    Field(
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    ),
]
