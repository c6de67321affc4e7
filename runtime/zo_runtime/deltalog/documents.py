"""The JSON objects of a log: run.json, versions/<n>.json, data/<n>.json and LATEST.json.

Fields of rounds are left out where they are absent: the objects of a run without rounds have none of them.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AwareDatetime, Field, JsonValue

from zo_runtime.deltalog.checked_json import CheckedDocument
from zo_runtime.rounds.contract import Verdict, VersionReference
from zo_runtime.zo.directions import Distribution
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.method import Method

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


def _is_absent(value: object) -> bool:
    return value is None


Base = Annotated[Count | None, Field(exclude_if=_is_absent)]
RoundNumber = Annotated[Positive | None, Field(exclude_if=_is_absent)]
Reference = Annotated[Sha256 | None, Field(exclude_if=_is_absent)]


class ModelIdentity(CheckedDocument):
    """The base model that the run adapts."""

    name: str
    revision: str | None = None
    digest: str
    """Digest of the base weights: what decides whether two models are the same."""
    dtype: str
    """Type of weights and activations, as `bfloat16`."""
    quantization: Annotated[str | None, Field(exclude_if=_is_absent)] = None
    """What the engine does to these weights when it loads them, as `fp8`; left out where it takes them as is."""


class MethodFields(CheckedDocument):
    """`zo.method.Method` as JSON."""

    seed: Count
    interval: Positive
    directions: Positive
    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    distribution: Distribution
    momentum: Finite | None
    weight_decay: Finite


class RunInfo(CheckedDocument):
    """run.json: everything that identifies a run and that replay needs beside the rows."""

    name: str
    model: ModelIdentity
    tensors: Annotated[tuple[tuple[str, Positive, Positive], ...], Field(min_length=1)]
    """Adapted layers in the order that numbers them: name, out features, in features."""
    rank: Positive
    subspaces: Positive
    method_fields: Annotated[MethodFields, Field(alias="method")]
    settings: dict[str, JsonValue]
    """Whatever else makes it this run and no other: objective, schedule, batch size, seed of the data."""
    created: AwareDatetime
    """When the log was begun; no part of the run's identity."""

    @classmethod
    def build(
        cls,
        name: str,
        model: ModelIdentity,
        layout: BankLayout,
        method: Method,
        settings: dict[str, JsonValue],
        created: AwareDatetime,
    ) -> Self:
        """Describe a run by the objects that the training loop has at hand."""
        fields = {field: getattr(method, field) for field in Method.__dataclass_fields__}
        return cls(
            name=name,
            model=model,
            tensors=tuple((t.name, t.out_features, t.in_features) for t in layout.tensors),
            rank=layout.rank,
            subspaces=layout.subspaces,
            method_fields=MethodFields(**fields),
            settings=settings,
            created=created,
        )

    def layout(self) -> BankLayout:
        """Shapes of the run's bank."""
        return BankLayout(tuple(TensorShape(*t) for t in self.tensors), self.rank, self.subspaces)

    def method(self) -> Method:
        """The optimizer's fixed part."""
        return Method(**self.method_fields.model_dump())


class ObjectRef(CheckedDocument):
    """An immutable object that covers the steps `first`..`last`, and the bytes it must have."""

    key: str
    first: Positive
    last: Positive
    size: Positive
    sha256: Sha256


class Evaluation(CheckedDocument):
    """What the held-out data said of a version."""

    loss: Finite
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    examples: Positive


class DataEntry(CheckedDocument):
    """Records of one object: the part `first`..`last` of those that it had when it was `size` bytes long."""

    name: str
    """URI of the object, or path of the file."""
    etag: str
    """The storage's own mark of the content; for a file its time of modification."""
    size: Positive
    sha256: Sha256
    """Of the first `size` bytes."""
    first: Positive
    last: Positive
    """The first and the last record that are used, counted from 1 as the object's format reads them."""
    records: Positive
    """Records of the whole object, those that cannot be used among them."""


class DataList(CheckedDocument):
    """data/<n>.json: what round n learns from and is judged by. Entries are ordered by name."""

    round: Positive
    first_step: Positive
    """The round's first step."""
    base: VersionReference | None
    """The version that the round continues from; none where it starts from the base model."""
    served: VersionReference | None
    """The version that the gate compares with; none for the base model."""
    train: tuple[DataEntry, ...]
    """Records to learn from, and to evaluate on where `evaluation` is absent."""
    evaluation: Annotated[tuple[DataEntry, ...] | None, Field(exclude_if=_is_absent)] = None
    """Records of the separate source to evaluate on."""


class Cost(CheckedDocument):
    """What a version took since the one before it, or since its process began."""

    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Time on the clock: loading, scoring, evaluating, writing. What a process that died had done is not counted."""
    accelerators: Count
    """GPUs that all workers together held."""


class Version(CheckedDocument):
    """versions/<n>.json: a state of the bank. `first_step` > `last_step`: no new step."""

    number: Positive
    run: Sha256
    """Hash of run.json."""
    previous: Sha256 | None
    """Hash of the version before, none for the first."""
    first_step: Positive
    last_step: Count
    segments: tuple[ObjectRef, ...]
    metrics: tuple[ObjectRef, ...]
    evaluation: Evaluation | None
    cursor: Count
    """Examples consumed up to and including `last_step`."""
    data_digest: str
    """Digest of the data that the cursors of these steps count in."""
    digest: Sha256
    """Digest of the bank after `last_step`, or at `base` if there is no new step."""
    created: AwareDatetime
    base: Base = None
    """The step whose bank `first_step` continues from. Default: the step before it."""
    round: RoundNumber = None
    """The round that made the version; none for a run without rounds."""
    data_list: Reference = None
    """SHA-256 of the round's data/<n>.json: what its steps learned from."""
    verdict: Annotated[Verdict | None, Field(exclude_if=_is_absent)] = None
    """What the gate said. Only the last version of a round that came to its end has one."""
    cost: Annotated[Cost | None, Field(exclude_if=_is_absent)] = None
    """What the version took; none for a run without rounds."""


class Head(CheckedDocument):
    """The last durable step, and what holds the steps that no version holds yet."""

    step: Count
    digest: Sha256
    """Digest of the bank after `step`, or at `base` if no step was made on it yet."""
    data_digest: str
    """Digest of the data that cursors count in; empty before the first round."""
    segments: tuple[ObjectRef, ...]
    metrics: tuple[ObjectRef, ...]
    base: Base = None
    """The step whose bank the first step that no version holds continues from. Default: the step before it."""
    round: RoundNumber = None
    """The round that is under way, or was the last one."""
    data_list: Reference = None
    """SHA-256 of the round's data/<n>.json."""


class WriterInfo(CheckedDocument):
    """Who writes, or wrote last. Every write of LATEST.json raises `heartbeat`, so no two are ever equal."""

    id: str
    host: str
    pid: Positive
    boot_id: str
    """Identifies the machine's boot; empty where the system does not tell."""
    pid_namespace: str
    """Identifies the space that `pid` counts in: another container has another."""
    process_start: str
    """Tells the process from a later one with the same pid."""
    epoch: Positive
    """Counts the writers of the run."""
    heartbeat: Count
    released: bool


class Latest(CheckedDocument):
    """LATEST.json: the one mutable object."""

    run: Sha256
    """Hash of run.json."""
    version: Positive | None
    version_sha256: Sha256 | None
    head: Head
    writer: WriterInfo
