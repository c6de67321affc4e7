"""Axes: round ticks and the map from values to pixels."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from zo_runtime.report.model import Column

Unit = Literal["number", "percent", "count", "time"]

# Round steps of a time axis, in seconds: up to a minute, an hour, a day; beyond, whole days.
_CLOCK = (1, 2, 5, 10, 15, 30, *(60 * n for n in (1, 2, 5, 10, 15, 30)), *(3600 * n for n in (1, 2, 3, 4, 6, 8, 12)))
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map of [low, high] to the pixels [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: Column) -> Column:
        """Pixels of values; values outside the range stay at its edge."""
        share = (np.clip(value, self.low, self.high) - self.low) / (self.high - self.low)
        return np.asarray(self.start + share * (self.end - self.start), dtype=np.float64)


def ticks(low: float, high: float, count: int, unit: Unit = "number") -> list[float]:
    """About `count` round numbers within [low, high], low < high; whole numbers for counts, round times of the day
    in UTC for times in seconds since 1970."""
    step = _time_step(high - low, count) if unit == "time" else tick_step(high - low, count)
    if unit == "count":
        step = max(1.0, step)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def tick_step(span: float, count: int) -> float:
    """The step of 1, 2 or 5 times a power of ten that divides the span into at most about `count` parts."""
    raw = span / count
    magnitude = float(10.0 ** math.floor(math.log10(raw)))
    return next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * 0.999)


def _time_step(span: float, count: int) -> float:
    days = _DAY * max(1.0, tick_step(span / _DAY, count))
    return next((float(step) for step in _CLOCK if step >= 0.999 * span / count), days)


def tick_labels(values: list[float], unit: Unit) -> list[str]:
    """The ticks as text, all with the same number of decimals; times with as much of the date as tells them apart."""
    if unit == "time":
        form = _time_form(values)
        return [datetime.fromtimestamp(value, UTC).strftime(form) for value in values]
    if unit == "count":
        return [f"{value:,.0f}" for value in values]
    scaled = [100 * value for value in values] if unit == "percent" else values
    step = min((b - a for a, b in itertools.pairwise(scaled)), default=1.0)
    largest = max((abs(value) for value in scaled), default=0.0)
    if step < 1e-4 or largest >= 1e6:
        digits = max(3, 1 + _magnitude(largest) - _magnitude(step))
        return [f"{value:.{digits}g}" for value in scaled]
    decimals = max(0, -_magnitude(step))
    suffix = "%" if unit == "percent" else ""
    return [f"{value:.{decimals}f}{suffix}".replace("-", "\u2212") for value in scaled]


def _time_form(values: list[float]) -> str:
    if all(value % _DAY == 0 for value in values):
        return "%Y-%m-%d"
    clock = "%H:%M" if all(value % 60 == 0 for value in values) else "%H:%M:%S"
    return clock if values[-1] - values[0] < _DAY else f"%m-%d {clock}"


def _magnitude(value: float) -> int:
    """The power of ten of the first digit; a step that fell a rounding short of one counts as it."""
    return math.floor(math.log10(value) + 1e-6) if value else 0


def widened(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """A range with some room at both ends, and never empty."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = 0.05 * abs(low) or 0.5
        return low - room, high + room
    room = share * (high - low)
    return low - room, high + room
