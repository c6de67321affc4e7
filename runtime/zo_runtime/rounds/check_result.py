"""What `zo check` says of a replica: its last line of output and its termination message.

The light contract between the runtime and the operator, like `zo_runtime.progress`: pydantic only.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

# The API key of a replica that asks for one.
API_KEY = "ZO_REPLICA_API_KEY"


class CheckResult(BaseModel):
    """How a replica did on the held-out examples of the version that it serves, beside what the log says. Losses are
    means in nats, accuracies go from 0 to 1. A command that could not judge leaves a `Result` instead, whose fields
    are a part of these."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    ok: bool
    """Whether the examples could be scored and compared."""
    reason: str
    """`Passed`, `AccuracyDropped`, `AccuracyTooLow`, `LossRose`, or the reason of the error (`zo_runtime.errors`)."""
    message: str = ""
    """The same as a sentence, with the numbers."""
    exit_code: int = 0
    passed: bool = False
    """Whether the replica is as good as the log says and as the bounds demand."""
    examples: int = 0
    """How many were scored."""
    accuracy: float | None = None
    """The replica's; none for objectives without one."""
    expected_accuracy: float | None = None
    """The log's."""
    loss: float | None = None
    """The replica's."""
    expected_loss: float | None = None
    """The log's."""

    def to_termination_message(self) -> str:
        """JSON on one line, far below what kubelet keeps."""
        return self.model_dump_json(by_alias=True, exclude_none=True)
