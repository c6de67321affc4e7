"""One step of a run, as the log keeps it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zo_runtime.zo.estimator import projected_gradient, round_coefficient
from zo_runtime.zo.method import Method, Update

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class StepRow:
    """One finished step. Tuples have one value for each direction; losses are stored as float32."""

    step: int
    loss_plus: tuple[float, ...]
    loss_minus: tuple[float, ...]
    coefficients: tuple[float, ...]
    """Exactly what multiplied each direction, as `round_coefficient` returns it."""
    learning_rate: float
    """A float32-exact number."""
    cursor: int
    """Examples consumed before this step: with the data's digest, the batch."""
    step_seconds: float = 0.0
    tokens: int = 0

    def update(self) -> Update:
        """What replay needs of the step."""
        return Update(self.step, self.learning_rate, self.coefficients)

    def loss(self) -> float:
        """Mean of the step's losses over directions and signs."""
        return math.fsum(self.loss_plus + self.loss_minus) / (2 * len(self.loss_plus))

    def gradients(self, epsilon: float) -> tuple[float, ...]:
        """Projected gradient of each direction, before clipping."""
        pairs = zip(self.loss_plus, self.loss_minus, strict=True)
        return tuple(projected_gradient(plus, minus, epsilon) for plus, minus in pairs)


def require_row(row: StepRow, step: int, method: Method) -> None:
    """Raise ValueError for a row that must not get into a log: the caller's mistake, not the user's."""
    if row.step != step:
        raise ValueError(f"expected step {step}, got step {row.step}")
    for name in ("loss_plus", "loss_minus", "coefficients"):
        values = getattr(row, name)
        if len(values) != method.directions:
            raise ValueError(f"step {step}: {name} has {len(values)} values, not {method.directions}")
        if not all(abs(v) <= _LARGEST for v in values):
            raise ValueError(f"step {step}: {name} is not finite: {values}")
    if any(round_coefficient(c) != c for c in row.coefficients):
        raise ValueError(f"step {step}: the coefficients {row.coefficients} are not rounded")
    if float(np.float32(row.learning_rate)) != row.learning_rate:
        raise ValueError(f"step {step}: the learning rate {row.learning_rate} is not a float32")
    if row.cursor < 0 or row.tokens < 0:
        raise ValueError(f"step {step}: cursor {row.cursor} and tokens {row.tokens} must not be negative")
