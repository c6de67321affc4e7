"""Making long, noisy columns drawable: fewer points that keep the extremes, and a moving average."""

from __future__ import annotations

import itertools

import numpy as np

from zo_runtime.report.model import Column

MAX_POINTS = 600


def thin(x: Column, y: Column, limit: int = MAX_POINTS) -> tuple[Column, Column]:
    """At most `limit` of the points (x, y), each (N,), in their order, without those whose y is not finite.

    Four in five are evenly spaced, so that noise keeps its look; the rest are the lowest and the highest point
    of each stretch, so that no spike is lost. The first and the last point stay.
    """
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    if len(y) <= limit:
        return x, y
    stretches = limit // 10
    keep = set(np.linspace(0, len(y) - 1, limit - 2 * stretches).astype(int).tolist())
    edges = np.linspace(0, len(y), stretches + 1).astype(int)
    for first, last in itertools.pairwise(edges.tolist()):
        stretch = y[first:last]
        keep.update((first + int(stretch.argmin()), first + int(stretch.argmax())))
    chosen = np.array(sorted(keep))
    return x[chosen], y[chosen]


def moving_average(y: Column, window: int) -> Column:
    """The mean of the finite values within `window` (odd) points around each point, fewer at the ends; NaN
    where there is none."""
    finite = np.isfinite(y)
    half = window // 2
    index = np.arange(len(y))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(y))
    # Taken about the middle of the values, the running sums stay small, and so does their rounding.
    middle = float(np.median(y[finite])) if finite.any() else 0.0
    sums = np.concatenate(([0.0], np.cumsum(np.where(finite, y - middle, 0.0))))
    counts = np.concatenate(([0], np.cumsum(finite)))
    number = (counts[high] - counts[low]).astype(np.float64)
    mean = np.divide(sums[high] - sums[low], number, out=np.full(len(y), np.nan), where=number > 0)
    return np.asarray(mean + middle, dtype=np.float64)


def smoothing_window(points: int) -> int:
    """An odd window that shows the trend of this many noisy points: a twentieth of them, at least 5."""
    return max(5, points // 20) | 1


def usual_range(y: Column) -> tuple[float, float]:
    """The range of the finite values without far outliers: beyond the 1st to 99th percentile by more than the
    distance between the two. Needs at least one finite value."""
    y = y[np.isfinite(y)]
    low, high = (float(v) for v in np.percentile(y, [1, 99]))
    margin = high - low
    inside = y[(y >= low - margin) & (y <= high + margin)]
    return float(inside.min()), float(inside.max())
