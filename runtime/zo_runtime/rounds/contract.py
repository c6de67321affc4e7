"""What the operator tells a round, and what a round and a look at the data tell the operator.

The light contract between both: pydantic only, no engine, no arrays. Messages are camelCase on the wire; readers
ignore keys they do not know.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from zo_runtime.config.base import NonNegativeInt, PositiveInt, SpecModel

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Metric = Literal["loss", "accuracy"]
# `Ungated`: there is no gate, so nothing speaks against it. `Improved`: every test passed. `NoImprovement`,
# `Regressed`: the first test that failed.
VerdictReason = Literal["Ungated", "Improved", "NoImprovement", "Regressed"]
# How many names a message carries; counts are whole.
NAMES_LIMIT = 10
# kubelet keeps at most so many bytes of a termination message.
TERMINATION_MESSAGE_LIMIT = 4096
_SHORT = 300


class VersionReference(SpecModel):
    """A published version of the log; with its hash the whole chain below is pinned."""

    version: PositiveInt
    """Number of the version."""
    sha256: Sha256
    """SHA-256 of the object `versions/<version>.json`."""


class RoundOrder(SpecModel):
    """The round that a pod is to run: `round` of the mounted document, beside `spec`. Only the operator writes it."""

    number: PositiveInt
    """Counts a resource's rounds from 1."""
    base: VersionReference | None = None
    """The version that the round continues from. Default: the base model itself."""
    served: VersionReference | None = None
    """The version that the gate compares with. Default: the base model itself."""


class _Message(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )


class Comparison(_Message):
    """Candidate and served version on the same examples, example by example."""

    metric: Metric
    """What is compared: mean loss in nats, or accuracy from 0 to 1."""
    examples: NonNegativeInt
    """How many examples both were scored on."""
    candidate: Finite
    """The candidate's mean."""
    served: Finite
    """The served version's mean."""
    gain: Finite
    """Mean of the paired differences, in the metric's unit; positive where the candidate is better."""
    margin: Finite
    """What the gain has to exceed: `minGain`, or minus `maxLoss` on the regression set."""
    p_value: Probability
    """One-sided: the probability of such a gain or a larger one, were the true gain no more than the margin."""


class Verdict(_Message):
    """What the gate said of a round's last version."""

    accepted: bool
    """Whether the version may be served."""
    reason: VerdictReason
    """Why, in one word."""
    message: str = ""
    """The same as a sentence, with the numbers."""
    held_out: Comparison | None = None
    """On the newest held-out data."""
    regression: Comparison | None = None
    """On the fixed regression set."""


class Fresh(_Message):
    """Data that no concluded round has learned from or judged by."""

    objects: NonNegativeInt = 0
    """Objects (or files) with fresh records."""
    records: NonNegativeInt = 0
    """Fresh records that can be read and have the fields of the objective."""
    bytes: NonNegativeInt = 0
    """Their size."""
    oldest: AwareDatetime | None = None
    """When the oldest of the objects was written, by the storage's own clock; none where nothing is fresh."""
    quarantined: NonNegativeInt = 0
    """Fresh records that cannot be used."""
    changed: tuple[str, ...] = ()
    """Objects that were learned from and are other ones now, the first of them: they are not learned again."""
    changed_count: NonNegativeInt = 0
    """How many those are."""
    gone_count: NonNegativeInt = 0
    """Objects that were learned from and are no longer there."""


class ProbeResult(_Message):
    """How a look at the data ended: `zo probe`'s last line of output and its termination message."""

    ok: bool
    reason: str
    """`Completed`, or the reason of the error (`zo_runtime.errors`)."""
    message: str = ""
    """One sentence; on failure the error itself."""
    exit_code: int = 0
    fresh: Fresh = Fresh()
    round: NonNegativeInt = 0
    """Number of the log's newest round; 0 before the first. A resource that is made anew on an old log counts on."""
    accepted: VersionReference | None = None
    """The log's newest version that may be served: accepted, or published where there were no rounds."""

    def to_termination_message(self) -> str:
        """JSON of at most `TERMINATION_MESSAGE_LIMIT` bytes: the sentence is cut, then names are left out."""
        text = self.model_dump_json(by_alias=True, exclude_none=True)
        if len(text.encode()) <= TERMINATION_MESSAGE_LIMIT:
            return text
        message, fresh = self.message, self.fresh
        if len(message) > _SHORT:
            message = f"{message[: len(message) // 2]}..."
        else:
            fresh = fresh.model_copy(update={"changed": fresh.changed[:-1]})
        return self.model_copy(update={"message": message, "fresh": fresh}).to_termination_message()
