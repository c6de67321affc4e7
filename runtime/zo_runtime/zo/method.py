"""The settings that decide what an update does: with the log's rows, all that replay needs."""

from __future__ import annotations

from dataclasses import dataclass

from zo_runtime.zo.directions import Distribution


@dataclass(frozen=True, slots=True)
class Method:
    """The optimizer's fixed part. `epsilon` is a power of two; `momentum` is beta or None."""

    seed: int
    interval: int
    directions: int
    epsilon: float
    distribution: Distribution = "binomial16"
    momentum: float | None = None
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class Update:
    """One step as scalars. `coefficients` has one float32-exact value for each direction."""

    step: int
    learning_rate: float
    coefficients: tuple[float, ...]
