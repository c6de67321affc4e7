"""The chart of a resource's rounds: how well what is served does, on the newest data of each moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zo_runtime.report.model import RoundLine, Score
from zo_runtime.report.scales import widened
from zo_runtime.report.svg import Chart, Layer, Shape

SERVED, REJECTED = 1, 2
_Points = list[tuple[float, float]]


def round_chart(rounds: Sequence[RoundLine]) -> Chart | None:
    """Accuracy, or else loss, of what is served over time, with the candidates that were rejected.

    Each round puts a point where it starts, what is served on the new data, and one where it ends: its own version
    if that was accepted. So the line falls where the data drifts and rises where a round made up for it. None
    without two points.
    """
    accuracy = any(score.accuracy is not None for each in rounds for score in (each.served, each.candidate) if score)
    served, rejected = _points(rounds, accuracy)
    if len(served) < 2:
        return None
    layers = [_layer("served version, on the data of the round", "marks", SERVED, served)]
    if rejected:
        layers.append(_layer("rejected version", "crosses", REJECTED, rejected))
    every = np.array(served + rejected)
    low, high = widened(float(every[:, 1].min()), float(every[:, 1].max()), 0.12)
    return Chart(
        key="rounds",
        title=f"{'Accuracy' if accuracy else 'Loss'} of what is served",
        description=f"Over {len(rounds)} round{'' if len(rounds) == 1 else 's'}: on the newest held-out data, when a "
        "round starts and when it ends.",
        y_label="accuracy" if accuracy else "loss (nats)",
        unit="percent" if accuracy else "number",
        layers=tuple(layers),
        x_range=widened(float(every[:, 0].min()), float(every[:, 0].max()), 0.02),
        y_range=(max(0.0, low), min(1.0, high)) if accuracy and low < 1 and high > 0 else (low, high),
        x_label="time (UTC)",
        x_unit="time",
    )


def _points(rounds: Sequence[RoundLine], accuracy: bool) -> tuple[_Points, _Points]:
    served: _Points = []
    rejected: _Points = []
    for each in rounds:
        start, end = each.started.timestamp(), each.ended.timestamp()
        before, after = _value(each.served, accuracy), _value(each.candidate, accuracy)
        accepted = each.verdict is not None and each.verdict.accepted
        if before is not None:
            served.append((start, before))
        if accepted and after is not None:
            served.append((end, after))
        elif before is not None:
            served.append((end, before))
        if each.verdict is not None and not accepted and after is not None:
            rejected.append((end, after))
    return served, rejected


def _value(score: Score | None, accuracy: bool) -> float | None:
    value = None if score is None else score.accuracy if accuracy else score.loss
    return value if value is not None and np.isfinite(value) else None


def _layer(label: str, shape: Shape, tone: int, points: _Points) -> Layer:
    x, y = np.array(points, np.float64).T
    return Layer(label, shape, tone, x, y)
