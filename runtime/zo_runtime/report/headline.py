"""The numbers at the top of a report: what the run achieved, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from zo_runtime.report.model import EvaluationPoint, ReportData
from zo_runtime.units import data_size, duration


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline number: its name, the number, and a line that puts it into proportion."""

    name: str
    value: str
    detail: str
    result: bool = False
    """Whether it says what was achieved, not what it cost."""


def tiles(data: ReportData) -> list[Tile]:
    """The headline numbers, the most important one first."""
    results = [tile for tile in (_accuracy(data), _loss(data)) if tile is not None]
    results = [replace(tile, result=True) for tile in results]
    return [*results, _steps(data), _time(data), _log(data), _tokens(data)]


def _accuracy(data: ReportData) -> Tile | None:
    points = [(e, e.accuracy) for e in data.evaluations if e.accuracy is not None]
    if not points:
        return None
    (_, before), (last, after) = points[0], points[-1]
    if len(points) == 1:
        return Tile("Held-out accuracy", f"{after:.1%}", _where(last))
    change = f"{100 * (after - before):+.1f} points".replace("-", "\u2212")
    return Tile("Held-out accuracy", f"{before:.1%} \u2192 {after:.1%}", f"{change}, {_where(last)}")


def _loss(data: ReportData) -> Tile | None:
    points = data.evaluations
    if not points:
        return None
    before, after = points[0].loss, points[-1].loss
    if len(points) == 1:
        return Tile("Held-out loss", f"{after:.4g}", _where(points[-1]))
    change = f"{(after - before) / before:+.0%}".replace("-", "\u2212") if before > 0 else "in nats"
    return Tile("Held-out loss", f"{before:.3f} \u2192 {after:.3f}", f"{change}, {_where(points[-1])}")


def _where(point: EvaluationPoint) -> str:
    return f"on {point.examples:,} examples at step {point.step:,}"


def _steps(data: ReportData) -> Tile:
    versions = len(data.versions)
    return Tile(
        "Steps", f"{data.totals.steps:,}", f"{versions:,} {'version' if versions == 1 else 'versions'} published"
    )


def _time(data: ReportData) -> Tile:
    seconds = data.steps.seconds[np.isfinite(data.steps.seconds)]
    median = f"median {duration(float(np.median(seconds)))} a step" if len(seconds) else "no step yet"
    return Tile("Time in steps", duration(data.totals.seconds), median)


def _log(data: ReportData) -> Tile:
    each = data.totals.bytes_per_step
    value = "\u2013" if each is None else f"{each:.1f} B a step"
    return Tile("Update log", value, f"{data_size(data.totals.log_bytes)} in all")


def _tokens(data: ReportData) -> Tile:
    rate = f"{data.totals.tokens / data.totals.seconds:,.0f} a second" if data.totals.seconds > 0 else "no step yet"
    return Tile("Tokens scored", f"{data.totals.tokens:,}", rate)
