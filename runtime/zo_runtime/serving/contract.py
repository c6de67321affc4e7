"""What a serving replica is told and what it answers: the desired state, and `GET /zo/v1/adapters`.

The light contract between the operator, `zo serve-state` and the replicas: pydantic only, no engine, no arrays. The
desired state is strict, for a mistyped field must not roll anything out; answers are read leniently, so that a newer
replica can tell more than an older operator knows.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from zo_runtime.config.base import Name, NonNegativeInt, PositiveInt, SpecModel
from zo_runtime.config.problems import sentences
from zo_runtime.config.storage import S3
from zo_runtime.errors import InvalidSpec

FORMAT_VERSION = 1
# Folder of *.json files, one for each model name; a ConfigMap is mounted there.
DESIRED_STATE = "ZO_DESIRED_STATE"
DESIRED_STATE_DEFAULT = "/etc/zofinetune/serving"
# The replica's own name, which canary members are compared with. Default: the host name, which in a pod is the same.
POD_NAME = "POD_NAME"
ADAPTERS_ROUTE = "/zo/v1/adapters"

ModelName = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# `Pending`: not tried yet. `Preparing`: being built, verified or loaded. `Serving`: the target is served. `Failed`:
# the last attempt failed, another follows. `Orphaned`: served, but no longer desired. Whatever the state, an adapter
# that was served before is served until the next one is loaded.
State = Literal["Pending", "Preparing", "Serving", "Failed", "Orphaned"]


class Target(SpecModel):
    """What to serve: the bank at the end of a published version, or at an earlier step of it."""

    version: PositiveInt
    """Number of the version."""
    sha256: Sha256
    """SHA-256 of the object `versions/<version>.json`. With it the whole chain below is pinned."""
    step: NonNegativeInt | None = None
    """Step to serve, up to the version's last one; 0 is the base model. Default: the version's last step."""


class Canary(SpecModel):
    """Another target for some replicas. It is of the same log: a canary is compared with what the others serve."""

    target: Target
    """What the members serve."""
    members: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)]
    """Names of the pods."""


class DesiredState(SpecModel):
    """What all replicas serve under one model name: the content of `<name>.json`."""

    format_version: Literal[1]
    """Always 1."""
    name: ModelName
    """Model name that clients call."""
    uri: Annotated[str, Field(min_length=1, max_length=2048)]
    """The delta log: a folder, or `s3://bucket/prefix`."""
    s3: S3 = S3()
    """How to reach S3. Credentials come from the replica's environment or its service account."""
    target: Target
    """What to serve."""
    canary: Canary | None = None
    """Another target for some replicas. Default: none."""

    @field_validator("s3")
    @classmethod
    def _no_references(cls, s3: S3) -> S3:
        if s3.secret_ref is not None or s3.ca_secret_ref is not None:
            raise ValueError(
                "a replica reads no Secret: leave secretRef and caSecretRef out, give the pod its credentials by "
                "environment or service account, and the authorities by caFile"
            )
        return s3

    @classmethod
    def parse(cls, text: str | bytes, source: str) -> Self:
        """Read a desired state. Raise `InvalidSpec`: a sentence a problem with path, value and remedy."""
        try:
            return cls.model_validate_json(text, strict=True, by_alias=True, by_name=False)
        except ValidationError as error:
            if error.errors()[0]["type"] == "json_invalid":
                raise InvalidSpec(f"{source}: this is not JSON: write the desired state anew") from None
            lines = (line.removeprefix(": ") for line in sentences(error, cls))
            raise InvalidSpec("\n".join(f"{source}: {line}" for line in lines)) from None

    def to_json(self) -> str:
        """The same text for the same state, without what is left to its default."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True, indent=2) + "\n"


def target_for(desired: DesiredState, pod: str) -> Target:
    """What the replica of that name serves."""
    if desired.canary is not None and pod in desired.canary.members:
        return desired.canary.target
    return desired.target


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class Failure(_Answer):
    """Why the last attempt failed."""

    reason: str
    """One of the reasons in `docs/serving.md`, as `LogCorrupt`."""
    message: str
    """One sentence with the remedy."""
    at: AwareDatetime


class ServedTarget(_Answer):
    """The target that the replica has read last, for itself."""

    version: int
    sha256: str
    step: int | None = None


class ServedAdapter(_Answer):
    """One model name. `version`, `step`, `digest`, `since` and `uri` are of what answers requests now; none where
    nothing does."""

    name: str
    state: State
    version: int | None = None
    step: int | None = None
    digest: str | None = None
    """Digest of the bank: what `zo replay` prints for the same step."""
    since: AwareDatetime | None = None
    """When this replica began to serve it."""
    uri: str | None = None
    target: ServedTarget | None = None
    """None where the desired state is gone or cannot be read."""
    last_error: Failure | None = None
    """None once a later attempt has succeeded."""


class ServedAdapters(_Answer):
    """The answer to `GET /zo/v1/adapters`."""

    format_version: int = FORMAT_VERSION
    pod: str
    adapters: tuple[ServedAdapter, ...]
