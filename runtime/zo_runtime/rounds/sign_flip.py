"""The paired sign-flip test: is the mean of paired differences above zero by more than chance?

One-sided permutation test by R. A. Fisher ("The Design of Experiments", 1935, section 21): were there nothing to
gain, each difference might as well have the other sign. The p-value is the share of all assignments of signs
whose sum is at least the observed one. It assumes no distribution, only that differences are symmetric about their
mean; for means of many differences not even that.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from zo_runtime.zo import native
from zo_runtime.zo.directions import SIGNS, Stream

Floats = npt.NDArray[np.float64]

# Up to this many differences other than zero all assignments are tried, 65,536 at most; above, so many are drawn.
EXACT_DIFFERENCES = 16
DRAWS = 9_999
# Signs that are held in memory at once.
_CHUNK = 2**20


def p_value(differences: Floats, seed: int, stream: int) -> float:
    """The one-sided p-value of differences [N], all finite: above 0 and at most 1, the same on every machine.

    Drawn assignments count the observed one as one of theirs, so that a test at any level keeps that level
    (Phipson and Smyth, "Permutation p-values should never be zero", 2010). `seed` and `stream` name the draws.
    """
    values = _integers(differences)
    observed = values.sum()
    if len(values) <= EXACT_DIFFERENCES:
        return float(np.mean(_all_signs(len(values)) @ values >= observed))
    rows = max(1, _CHUNK // len(values))
    reached = 0
    for chunk, start in enumerate(range(0, DRAWS, rows)):
        count = min(rows, DRAWS - start)
        signs = native.draw(Stream(seed, stream, chunk, SIGNS, "rademacher"), count * len(values))
        reached += int(np.sum(signs.reshape(count, -1).astype(np.float64) @ values >= observed))
    return (1 + reached) / (1 + DRAWS)


def _integers(differences: Floats) -> Floats:
    """The differences other than zero in a common unit, as whole numbers small enough that every sum of them is
    exact in float64, in whichever order a machine adds: equal sums are then equal everywhere."""
    largest = float(np.max(np.abs(differences), initial=0.0))
    shift = 52 - math.frexp(largest)[1] - len(differences).bit_length()
    whole = np.rint(np.ldexp(differences, shift))
    return np.asarray(whole[whole != 0], np.float64)


def _all_signs(count: int) -> Floats:
    """Every assignment of signs to `count` differences, [2^count, count]."""
    bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
    return np.where(bits, -1.0, 1.0)
