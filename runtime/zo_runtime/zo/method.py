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

    def kept(self, learning_rate: float) -> float:
        """What a step leaves of B before it adds to it: d of `zo.bank`, not yet rounded to float32."""
        return 1.0 - learning_rate * self.weight_decay


@dataclass(frozen=True, slots=True)
class Update:
    """One step as scalars. `coefficients` has one float32-exact value for each direction."""

    step: int
    learning_rate: float
    coefficients: tuple[float, ...]
    after: int | None = None
    """The step whose bank this one changes. Default: the step before. A round that leaves the one before it aside
    continues from an earlier step."""

    @property
    def previous(self) -> int:
        """The step whose bank this one changes; 0 for the first of all."""
        return self.step - 1 if self.after is None else self.after
