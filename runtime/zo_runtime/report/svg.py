"""Drawing a chart as an SVG image: axes, grid and layers. Colours and fonts come from the page's style."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import Markup

from zo_runtime.report.model import Column
from zo_runtime.report.scales import Scale, Unit, tick_labels, ticks

# Room right of the plot, in pixels, for half of the last step's label.
_RIGHT = 26
# Up to this many dots are drawn strong; more are drawn faint, so that their density shows.
_SPARSE = 120

Shape = Literal["dots", "line", "marks", "crosses", "rule"]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One series: `dots` for raw values, a `line` through them, `marks` joined by a line for the few values
    that matter one by one, `crosses` for those that came to nothing, a dashed `rule` across the plot. `tone` picks
    the colour: 1 training, 2 held-out."""

    label: str
    shape: Shape
    tone: int
    x: Column
    y: Column


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """A chart with at least one point. `low` and `high` are the range of the y axis; values beyond it are
    drawn as arrows at its edge. `x_unit` is `count` for steps, `time` for seconds since 1970."""

    key: str
    title: str
    description: str
    y_label: str
    unit: Unit
    layers: tuple[Layer, ...]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    note: str = ""
    x_label: str = "step"
    x_unit: Unit = "count"


def draw(chart: Chart, name: str, width: int, height: int) -> Markup:
    """The chart as an `<svg>` of that size, in CSS pixels; `name` tells its sizes apart."""
    y_values = ticks(*chart.y_range, height // 42, chart.unit)
    y_texts = tick_labels(y_values, chart.unit)
    left = 34 + 7 * max(map(len, y_texts), default=1)
    x = Scale(*chart.x_range, left, width - _RIGHT)
    y = Scale(*chart.y_range, height - 46, 12)
    identity = f"{chart.key}-{name}"
    parts = [
        Markup(
            '<svg class="{}" viewBox="0 0 {} {}" role="img" aria-labelledby="{}-t {}-d" tabindex="0"'
            ' data-low="{:.12g}" data-high="{:.12g}" data-left="{:.1f}" data-right="{:.1f}" data-axis="{}">'
        ).format(name, width, height, identity, identity, x.low, x.high, x.start, x.end, chart.x_unit),
        Markup('<title id="{}-t">{}</title>').format(identity, chart.title),
        Markup('<desc id="{}-d">{}</desc>').format(identity, chart.description),
        _y_axis(chart, y, y_values, y_texts, left, width),
        _x_axis(chart, x, height, width // 100),
        *(_layer(layer, x, y) for layer in chart.layers),
        Markup('<line class="guide" x1="0" x2="0" y1="{:.0f}" y2="{:.0f}"/>').format(y.end, y.start),
        Markup("</svg>"),
    ]
    return Markup("").join(parts)


def _y_axis(chart: Chart, y: Scale, values: list[float], texts: list[str], left: float, width: int) -> Markup:
    rows = []
    for value, text in zip(values, texts, strict=True):
        level = float(y(np.array(value)))
        rows.append(
            Markup('<path class="{}" d="M{:.0f} {:.1f}H{}"/><text class="y" x="{:.0f}" y="{:.1f}">{}</text>').format(
                "zero" if value == 0 else "grid", left, level, width - _RIGHT, left - 7, level + 4, text
            )
        )
    middle = (y.start + y.end) / 2
    rows.append(
        Markup('<text class="label" transform="translate(13 {:.0f}) rotate(-90)">{}</text>').format(
            middle, chart.y_label
        )
    )
    return Markup("").join(rows)


def _x_axis(chart: Chart, x: Scale, height: int, count: int) -> Markup:
    base = height - 46
    parts = [Markup('<path class="axis" d="M{:.0f} {}H{:.0f}"/>').format(x.start, base, x.end)]
    values = ticks(x.low, x.high, count, chart.x_unit)
    for value, text in zip(values, tick_labels(values, chart.x_unit), strict=True):
        at = float(x(np.array(value)))
        parts.append(
            Markup('<path class="axis" d="M{:.1f} {}v5"/><text class="x" x="{:.1f}" y="{}">{}</text>').format(
                at, base, at, base + 19, text
            )
        )
    parts.append(
        Markup('<text class="label" x="{:.0f}" y="{}">{}</text>').format(
            (x.start + x.end) / 2, height - 6, chart.x_label
        )
    )
    return Markup("").join(parts)


def _layer(layer: Layer, x: Scale, y: Scale) -> Markup:
    across, up = x(layer.x), y(layer.y)
    points = list(zip(across.tolist(), up.tolist(), strict=True))
    beyond = (layer.y > y.high).astype(int) - (layer.y < y.low)
    tone = f"tone{layer.tone}"
    if layer.shape == "rule":
        return _path(f"rule {tone}", f"M{x.start:.0f} {points[0][1]:.1f}H{x.end:.0f}")
    if layer.shape == "dots":
        inside = "".join(f"M{a:.1f} {b:.1f}h0" for (a, b), out in zip(points, beyond, strict=True) if not out)
        arrows = "".join(
            f"M{a - 4:.1f} {b + 6 * out:.1f}h8l-4 {-6 * out}z"
            for (a, b), out in zip(points, beyond, strict=True)
            if out
        )
        crowd = "" if len(points) > _SPARSE else " sparse"
        return _path(f"dots{crowd} {tone}", inside) + _path(f"beyond {tone}", arrows)
    if layer.shape == "crosses":
        return _path(f"crosses {tone}", "".join(f"M{a - 4:.1f} {b - 4:.1f}l8 8m0-8l-8 8" for a, b in points))
    line = _path(f"line {tone}", "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points))
    if layer.shape == "line":
        return line
    return line + _path(f"marks {tone}", "".join(f"M{a:.1f} {b - 5:.1f}l5 5-5 5-5-5z" for a, b in points))


def _path(kind: str, commands: str) -> Markup:
    return Markup('<path class="{}" d="{}"/>').format(kind, commands) if commands else Markup("")
