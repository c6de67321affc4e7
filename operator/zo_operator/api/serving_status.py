"""`status.serving`: what replicas are to serve, and what they do serve."""

# ruff: noqa: RUF012 -- pydantic copies defaults

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zo_operator.api.status_model import StatusModel, Time

FAILED_LIMIT, PODS_LIMIT, WITHDRAWN_LIMIT, MESSAGE_LIMIT = 20, 100, 20, 512
Stage = Literal["Canary", "All"]


class FailedReplica(StatusModel):
    """One replica that does not serve what it should."""

    pod: str
    """Name of the pod."""
    reason: str
    """Why: the replica's own reason, Kubernetes's, or the operator's."""
    message: str = ""
    """The same as a sentence."""


class ReplicaStatus(StatusModel):
    """What one replica serves."""

    name: str
    """Name of the pod."""
    state: str
    """The replica's own word: Pending, Preparing, Serving, Failed, Orphaned; `Missing` where it does not answer."""
    version: int | None = None
    """Version that answers requests now."""
    step: int | None = None
    """Step of the log that it stands for."""
    digest: str | None = None
    """Digest of the adapter bank, as `zo inspect` tells it."""


class CheckStatus(StatusModel):
    """What one of `spec.serving.rollout.checks` has found of the version."""

    name: str
    """Name of the check."""
    definition: str
    """Identifies what is asked: another one begins anew."""
    state: Literal["Waiting", "Passed", "Failing", "Inconclusive", "Failed"] = "Waiting"
    """`Failing` may still pass, `Inconclusive` has no clear answer yet; `Failed` rolls the version back."""
    asked: int = 0
    """How often it was asked."""
    failures: int = 0
    """How often the answer was a failure."""
    time: Time | None = None
    """When it was asked last."""
    inconclusive_since: Time | None = None
    """Since when there is no clear answer."""
    message: str = ""
    """The last answer with its numbers, or why there is none."""


class RollbackRequest(StatusModel):
    """The annotation `zofinetune.io/rollback-to` as it was seen last: the same value does nothing again."""

    value: str
    """Value of the annotation."""
    accepted: bool
    """Whether it named a version to go back to."""
    message: str = ""
    """What came of it."""


class WithdrawnVersion(StatusModel):
    """A version that was rolled back and is not served again, unless `spec.serving.target` names it."""

    version: int
    """Number of the version."""
    sha256: str
    """SHA-256 of the version's object."""
    reason: str
    """`CheckFailed`, `CanaryFailed`, `CanaryMissing` or `RollbackRequested`."""
    message: str = ""
    """Why, with the numbers."""
    time: Time
    """When it was rolled back."""


class PreviousVersion(StatusModel):
    """The version that the other replicas serve while the first ones try the new one."""

    version: int
    """Number of the version."""
    sha256: str
    """SHA-256 of the version's object."""
    step: int | None = None
    """Step, where it is not the version's last."""
    digest: str | None = None
    """Digest of the adapter bank, where it is known."""
    log_uri: Annotated[str | None, Field(alias="logURI")] = None
    """The log that it belongs to, where that is another one."""


class ServingStatus(StatusModel):
    """What replicas are to serve, and how many do."""

    model_name: str
    """Model name that clients call."""
    version: int | None = None
    """Version that replicas are to serve; none before the first."""
    step: int | None = None
    """Step, where it is not the version's last."""
    sha256: str | None = None
    """SHA-256 of the version's object in the log."""
    digest: str | None = None
    """Digest of the adapter bank."""
    log_uri: Annotated[str | None, Field(alias="logURI")] = None
    """The log that the version belongs to."""
    stage: Stage | None = None
    """`Canary` while some replicas try the version, or while it waits for approval; then `All`."""
    stage_time: Time | None = None
    """When the stage began."""
    canary: list[str] = []
    """Pods that try the version first."""
    canary_ready_time: Time | None = None
    """Since when those serve it."""
    canary_failed_time: Time | None = None
    """Since when they fail to load it, or are all gone."""
    previous: PreviousVersion | None = None
    """What the others serve meanwhile."""
    checks: list[CheckStatus] = []
    """What the checks have found."""
    awaiting_approval: bool | None = None
    """True when nothing but approval is missing."""
    withdrawn: Annotated[list[WithdrawnVersion], Field(max_length=WITHDRAWN_LIMIT)] = []
    """The latest versions that were rolled back, newest first."""
    rollback: RollbackRequest | None = None
    """The rollback that was asked for last."""
    completion_time: Time | None = None
    """When all replicas that answer had switched for the first time."""
    replicas: int | None = None
    """Pods that match the selector and have not ended."""
    updated: int | None = None
    """Replicas that serve the version."""
    failed_replicas: int | None = None
    """Replicas that do not answer or have failed."""
    failed: Annotated[list[FailedReplica], Field(max_length=FAILED_LIMIT)] = []
    """The first of those, by name."""
    pods: Annotated[list[ReplicaStatus], Field(max_length=PODS_LIMIT)] = []
    """What each replica serves, the first hundred by name."""
