"""The `status` of a `ZOFineTune`: what the operator says of it. Times are RFC 3339 in UTC, to the second."""

# ruff: noqa: RUF012 -- pydantic copies defaults

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from zo_operator.api.schedule import LARGEST_HISTORY
from zo_operator.api.schedule_status import RoundVersion, ScheduleStatus, Trigger
from zo_operator.api.serving_status import ServingStatus
from zo_operator.api.status_model import StatusModel, Time
from zo_runtime.rounds.contract import Verdict

Phase = Literal[
    "Pending", "Queued", "Running", "Suspended", "Stopping", "RollingOut", "Waiting", "Succeeded", "Failed"
]
Outcome = Literal["Completed", "Rejected", "RolledBack", "Failed", "Superseded"]
# A schedule keeps its own numbers of rounds, and the one that runs.
HISTORY_LIMIT = 1 + 2 * LARGEST_HISTORY


class Condition(StatusModel):
    """One condition, in the shape of `metav1.Condition`."""

    type: Annotated[str, Field(max_length=316)]
    """Name of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: int | None = None
    """`metadata.generation` that it speaks of."""
    last_transition_time: Time
    """When `status` changed last."""
    reason: Annotated[str, Field(max_length=1024)]
    """Why, as one CamelCase word."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, as a sentence."""


class Failure(StatusModel):
    """One pod that failed."""

    pod: str
    """Name of the pod."""
    time: Time
    """When it ended."""
    exit_code: int | None = None
    """Exit code of the container; none if it never ran."""
    reason: str
    """The runtime's reason, or Kubernetes's: `StorageUnavailable`, `OOMKilled`."""
    message: str = ""
    """The error itself."""


class Round(StatusModel):
    """One training round: one Job, or several one after another if its pods were replaced."""

    number: int
    """Counts from 1 and never restarts."""
    hash: str
    """Identifies what is learned: model, data, objective, optimizer, evaluation and log."""
    template_hash: str
    """Identifies the pods."""
    job: str
    """Name of the Job."""
    trigger: Trigger | None = None
    """What began it under a schedule: a time of `cron`, fresh data, or someone by hand. None without a schedule."""
    base: RoundVersion | None = None
    """The version that it continues from; none if it starts from the base model, or without a schedule."""
    served: RoundVersion | None = None
    """The version that was served when it began, and that the gate compares with."""
    data_records: int | None = None
    """Fresh records that were found before it began. It learns from as many as its steps take, the oldest first."""
    start_time: Time | None = None
    """When its first pod could start."""
    completion_time: Time | None = None
    """When it ended."""
    outcome: Outcome | None = None
    """How it ended; none while it goes on. `Rejected`: the gate did not let its version be served. `RolledBack`: it
    was served to some replicas and taken back. `Superseded`: the next round began in its stead."""
    reason: str | None = None
    """Why it ended so."""
    message: str | None = None
    """The same as a sentence; the error itself after a failure."""
    steps: int | None = None
    """Finished steps of the round."""
    seconds: float | None = None
    """Time the runtime took, in seconds."""
    accuracy_before: float | None = None
    """Held-out accuracy before the round, 0 to 1."""
    accuracy_after: float | None = None
    """Held-out accuracy after the round, 0 to 1."""
    loss_before: float | None = None
    """Held-out loss before the round."""
    loss_after: float | None = None
    """Held-out loss after the round."""
    version: int | None = None
    """Version that the round published last."""
    version_sha256: Annotated[str | None, Field(alias="versionSHA256")] = None
    """SHA-256 of that version's object in the log: what `spec.serving.target.sha256` asks for."""
    digest: str | None = None
    """Digest of the adapter bank at that version."""
    log_uri: Annotated[str | None, Field(alias="logURI")] = None
    """The log that it belongs to."""
    verdict: Verdict | None = None
    """What the gate said of its version."""


class Status(StatusModel):
    """What the operator observed last."""

    observed_generation: int | None = None
    """`metadata.generation` that this status speaks of."""
    phase: Phase | None = None
    """Where the resource is, in one word."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []
    """`Ready`, `Reconciling` and `Stalled` as kstatus reads them; `Suspended` and `Complete`; with `spec.serving`
    `Served`, with `spec.schedule` `FreshData`."""
    stage: str | None = None
    """What the runtime is doing: Starting, Loading, Evaluating, Training, Finished."""
    step: int | None = None
    """Last finished step."""
    total_steps: int | None = None
    """Steps of the round."""
    progress: str | None = None
    """Share of the steps that are finished, as `43%`."""
    loss: float | None = None
    """Training loss of the last step."""
    held_out_loss: float | None = None
    """Latest held-out loss."""
    loss_before: float | None = None
    """Held-out loss before the round."""
    accuracy_before: float | None = None
    """Held-out accuracy before the round, 0 to 1."""
    accuracy_after: float | None = None
    """Latest held-out accuracy, 0 to 1."""
    step_seconds: float | None = None
    """Time of one step, in seconds."""
    tokens_per_second: float | None = None
    """Tokens scored per second."""
    start_time: Time | None = None
    """When the round began."""
    estimated_completion_time: Time | None = None
    """When the round is going to end at its present pace."""
    completion_time: Time | None = None
    """When the round ended."""
    log_uri: Annotated[str | None, Field(alias="logURI")] = None
    """URI of the delta log."""
    flushed_step: int | None = None
    """Last step that is durable in the log."""
    version: int | None = None
    """Newest published version."""
    digest: str | None = None
    """Digest of the adapter bank at `flushedStep`."""
    quarantined: int | None = None
    """Records that could not be used."""
    failures: int | None = None
    """Failed pods of the round that count towards `backoffLimit`; none before the first."""
    last_failure: Failure | None = None
    """The round's latest failed pod."""
    rounds: Annotated[
        list[Round], Field(max_length=HISTORY_LIMIT, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    """The latest rounds, newest first; the first one is the current one."""
    schedule: ScheduleStatus | None = None
    """What `spec.schedule` waits for, and what was found in the data last."""
    serving: ServingStatus | None = None
    """What the replicas of `spec.serving` are to serve, and how many do."""

    def to_dict(self) -> dict[str, Any]:
        """The status as the API server stores it: no empty fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def parse_status(raw: Any) -> Status:
    """Read a stored status. One that does not parse was not written by an operator: it counts as none."""
    try:
        return Status.model_validate(raw or {})
    except ValidationError:
        return Status()
