"""From losses to coefficients: the projected gradient, clipping, schedules and the exact rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

# A product with one of the 17 levels of binomial16 needs 3 more bits, so 21 keep it exact in float32's 24.
SIGNIFICANT_BITS = 21
# Below this a coefficient counts as zero: no sum of exact products then reaches the subnormal range, which
# some devices flush.
SMALLEST = 2.0**-100


def power_of_two(epsilon: float) -> float:
    """The power of two nearest to `epsilon` in ratio; scaling a direction by it is exact."""
    return float(2.0 ** round(math.log2(epsilon)))


def projected_gradient(loss_plus: float, loss_minus: float, epsilon: float) -> float:
    """g = (loss+ - loss-) / (2 eps), the two-point estimate of SPSA (Spall, 1992)."""
    return (loss_plus - loss_minus) / (2 * epsilon)


def clip(gradient: float, bound: float | None) -> float:
    """Cut a projected gradient to [-bound, bound]."""
    return gradient if bound is None else max(-bound, min(bound, gradient))


def round_coefficient(value: float) -> float:
    """Round to float32, then to 21 significant bits (ties to even): what the log stores and replay multiplies."""
    if abs(value) < SMALLEST:
        return 0.0
    bits = int(np.float32(value).view(np.uint32))
    drop = 24 - SIGNIFICANT_BITS
    bits += (1 << (drop - 1)) - 1 + (bits >> drop & 1)
    return float(np.uint32(bits & ~((1 << drop) - 1) & 0xFFFFFFFF).view(np.float32))


def learning_rate(base: float, schedule: Literal["constant", "cosine"], step: int, steps: int) -> float:
    """The learning rate of step 1..steps, as a float32-exact number. Cosine starts at `base`, ends near 0."""
    if schedule == "cosine":
        base *= 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))
    return float(np.float32(base))


def coefficients(gradients: Sequence[float], rate: float, momentum: float | None) -> tuple[float, ...]:
    """What multiplies each direction U_j: lr * g_j / q, or (1 - beta) * g_j / q where momentum averages first."""
    weight = rate if momentum is None else 1.0 - momentum
    return tuple(round_coefficient(weight * g / len(gradients)) for g in gradients)
