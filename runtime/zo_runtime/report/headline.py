"""The numbers at the top of a report: what the run achieved, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from zo_runtime.report.model import EvaluationPoint, ReportData, RoundLine
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
    found = _of_rounds(data.rounds) if data.rounds else [_accuracy(data), _loss(data)]
    results = [replace(tile, result=True) for tile in found if tile is not None]
    return [*results, _steps(data), _time(data), _log(data), _tokens(data)]


def _of_rounds(rounds: tuple[RoundLine, ...]) -> list[Tile | None]:
    """What the newest accepted round brought, and how many there were."""
    accepted = [each for each in rounds if each.verdict is not None and each.verdict.accepted]
    rejected = [each for each in rounds if each.verdict is not None and not each.verdict.accepted]
    others = len(rounds) - len(accepted) - len(rejected)
    detail = f"{len(accepted)} accepted, {len(rejected)} rejected"
    detail += f", {others} without a verdict" if others else ""
    return [_gain(accepted[-1]) if accepted else None, Tile("Rounds", f"{len(rounds):,}", detail)]


def _gain(newest: RoundLine) -> Tile | None:
    before, after = newest.served, newest.candidate
    if after is None:
        return None
    pair = (before.accuracy if before else None), after.accuracy
    name, form = ("Served accuracy", "{:.1%}") if after.accuracy is not None else ("Served loss", "{:.3f}")
    if after.accuracy is None:
        pair = (before.loss if before else None), after.loss
    values = [form.format(value) for value in pair if value is not None]
    return Tile(name, " \u2192 ".join(values), f"by round {newest.number}, on {after.examples:,} examples of its own")


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
    if held := sum(each.accelerator_seconds for each in data.rounds):
        each_round = f"{duration(held / len(data.rounds))} a round, {duration(data.totals.seconds)} in steps"
        return Tile("GPU time", duration(held), each_round)
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
