"""What a run says of itself: the `/progress` route and the final result.

The light contract between the runtime and the operator: this module imports pydantic only. Both models are
written as JSON with camelCase keys; readers ignore keys they do not know, so that versions may differ.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from zo_runtime.rounds.contract import TERMINATION_MESSAGE_LIMIT, Verdict

Phase = Literal["Starting", "Loading", "Evaluating", "Training", "Finished", "Failed"]


class _Message(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class Progress(_Message):
    """The state of a run at one moment. Losses are means over examples, times are in seconds."""

    phase: Phase = "Starting"
    step: int = 0
    """Last finished step; 0 before the first."""
    total_steps: int = 0
    loss: float | None = None
    """Mean of the last step's losses at plus and minus."""
    held_out_loss: float | None = None
    accuracy: float | None = None
    """Latest held-out accuracy, 0 to 1; none for objectives without one."""
    accuracy_before: float | None = None
    loss_before: float | None = None
    """Held-out loss before the first step."""
    step_seconds: float | None = None
    """Median of the recent steps."""
    eta_seconds: float | None = None
    tokens_per_second: float | None = None
    flushed_step: int = 0
    """Last step that is durable in the log."""
    version: int | None = None
    """Newest published version."""
    log_uri: str = ""
    digest: str | None = None
    """Digest of the bank at `flushed_step`."""
    quarantined: int = 0


class Result(_Message):
    """How a run ended: its last line of output and its termination message."""

    ok: bool
    reason: str
    """`Completed`, `EarlyStopped`, `Rejected` by the gate, or the reason of the error (`zo_runtime.errors`)."""
    message: str = ""
    """One sentence; on failure the error itself."""
    exit_code: int = 0
    steps: int = 0
    seconds: float = 0.0
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    loss_before: float | None = None
    loss_after: float | None = None
    log_uri: str = ""
    version: int | None = None
    version_sha256: str | None = None
    """SHA-256 of the object of `version`: with it, whoever serves the version knows that it is this one."""
    digest: str | None = None
    bytes_per_step: float | None = None
    quarantined: int = 0
    round: int | None = None
    """The resource's round that this was; none for a run without rounds."""
    verdict: Verdict | None = None
    """What the gate said of `version`."""

    def to_termination_message(self) -> str:
        """JSON of at most `TERMINATION_MESSAGE_LIMIT` bytes: a longer message is cut, nothing else is."""
        text = self.model_dump_json(by_alias=True, exclude_none=True)
        excess = len(text.encode()) - TERMINATION_MESSAGE_LIMIT
        if excess <= 0:
            return text
        # A character takes at most 12 bytes once JSON has escaped it, so this cut is always enough.
        keep = max(0, len(self.message) - excess - 16)
        cut = self.model_copy(update={"message": self.message[:keep] + "..."})
        return cut.to_termination_message() if keep else cut.model_dump_json(by_alias=True, exclude_none=True)
