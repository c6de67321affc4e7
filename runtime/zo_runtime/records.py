"""What the training loop tells its observers. Plain values: nothing here reaches back into the loop."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One finished step. Tuples have one value for each direction; losses are means over the batch, in nats."""

    step: int
    """Counted from 1."""
    subspace: int
    loss_plus: tuple[float, ...]
    loss_minus: tuple[float, ...]
    projected_gradients: tuple[float, ...]
    """(loss_plus - loss_minus) / (2 epsilon), before clipping."""
    coefficients: tuple[float, ...]
    """What multiplied each direction in the update."""
    learning_rate: float
    tokens: int
    """Prompt and completion tokens that were scored, over all directions and both signs."""
    seconds: float

    @property
    def loss(self) -> float:
        """Mean of the losses over directions and signs."""
        return math.fsum(self.loss_plus + self.loss_minus) / (2 * len(self.loss_plus))

    @property
    def projected_gradient(self) -> float:
        """Mean of the projected gradients over directions."""
        return math.fsum(self.projected_gradients) / len(self.projected_gradients)


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """The held-out data scored after `step` steps; 0 is before the first."""

    step: int
    loss: float
    accuracy: float | None
    """0 to 1; none for objectives without one."""
    examples: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FlushRecord:
    """Steps up to and including `step` became durable."""

    step: int
    bytes: int
    """Size of what this flush wrote."""
    digest: str
    """Digest of the bank at `step`."""
    total_bytes: int
    """Size of all that this process wrote to the log."""
    done: int | None = None
    """How many of these steps are the round's own. Default: all of them."""


@dataclass(frozen=True, slots=True)
class PublishRecord:
    """A version that may be served was published."""

    version: int
    step: int
    digest: str
