"""The `spec` of a `ZOFineTune` in a cluster: what the runtime reads, and what only the operator does."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from zo_operator.api.runtime import Runtime
from zo_operator.api.schedule import Schedule
from zo_operator.api.serving import Serving
from zo_operator.api.types import ResourceName
from zo_runtime.config.base import NonNegativeInt, PositiveInt
from zo_runtime.config.document import RunSpec
from zo_runtime.errors import InvalidSpec

DeletionPolicy = Literal["Retain", "Delete"]


class ZOFineTuneSpec(RunSpec):
    """What to adapt, on what data, how, and in which pods."""

    runtime: Runtime = Runtime()
    """The pods of a round."""
    suspend: bool = False
    """Stop the pods and start none. Finished steps stay in the log, and the round goes on from there. Default:
    false."""
    ttl_seconds_after_finished: NonNegativeInt | None = None
    """Seconds after which the Job and the pods of a finished round are removed. The status, the log and this
    resource stay. Default: they stay until the next round."""
    active_deadline_seconds: PositiveInt | None = None
    """Seconds that a round may take, counted anew after each suspension. Default: no limit."""
    backoff_limit: Annotated[int, Field(ge=0, le=1000)] = 6
    """Failures worth a retry after which the round fails. Evictions and preemptions do not count; failures
    that a retry cannot mend end the round at once. Default: 6."""
    queue_name: ResourceName | None = None
    """Kueue's LocalQueue: the round waits, suspended, until Kueue admits it. It may change while `suspend` is
    true. Default: no queue."""
    deletion_policy: DeletionPolicy = "Retain"
    """What happens to the log when this resource is deleted. `Delete` removes it with a Job that runs after
    the pods are gone. Default: Retain."""
    schedule: Schedule | None = None
    """When rounds begin by themselves, on fresh data. Default: one round of this spec."""
    serving: Serving | None = None
    """The replicas that serve the adapter. Default: none; the log grows, and nothing is served from it."""


def parse_spec(raw: Any) -> ZOFineTuneSpec:
    """Validate the `spec` of a resource.

    The CRD's schema has seen it before, so an error here is one that the schema cannot express, or comes from a
    resource that was stored under an older schema.

    Raises:
        InvalidSpec: the sentence names the first field that is wrong.
    """
    try:
        return ZOFineTuneSpec.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in ("spec", *first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidSpec(f"{path}: {message[:1].lower()}{message[1:]}") from None
