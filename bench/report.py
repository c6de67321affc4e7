"""Pure helpers of the benchmarks: summaries, ratios, rounds in turn, and charts as SVG text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from xml.sax.saxutils import escape


@dataclass(frozen=True, slots=True)
class Summary:
    """Median, least and greatest of a side's figures, in their own unit."""

    median: float
    least: float
    greatest: float


def summarize(values: Sequence[float]) -> Summary:
    """Summary of at least one figure."""
    return Summary(median(values), min(values), max(values))


def pairwise_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Ratio round by round, so that a drift of the machine's speed cancels. Both have the same length."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def run_rounds(sides: Mapping[str, Callable[[], float]], rounds: int, warmup: int) -> dict[str, list[float]]:
    """Seconds of each side, `rounds` each, after `warmup` uncounted rounds.

    Sides run in turn, and each round starts one side later than the last, so that none always follows the same.
    """
    names = list(sides)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for index in range(warmup + rounds):
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            elapsed = sides[name]()
            if index >= warmup:
                seconds[name].append(elapsed)
    return seconds


def bar_chart(title: str, unit: str, bars: Mapping[str, Summary]) -> str:
    """A horizontal bar for each median, with a line from the least to the greatest figure, as an SVG document."""
    left, width, row = 190, 430, 34
    scale = width / max(summary.greatest for summary in bars.values())
    height = 56 + row * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 100}" height="{height}"'
        ' font-family="sans-serif" font-size="13" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="12" y="26" font-size="16" font-weight="bold">{escape(title)}</text>',
    ]
    for index, (name, summary) in enumerate(bars.items()):
        top = 44 + row * index
        end, low, high = (left + scale * v for v in (summary.median, summary.least, summary.greatest))
        parts += [
            f'<text x="{left - 8}" y="{top + 16}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{left}" y="{top + 2}" width="{end - left:.1f}" height="20" fill="#4c78a8"/>',
            f'<path d="M{low:.1f} {top + 12}H{high:.1f}M{low:.1f} {top + 7}v10M{high:.1f} {top + 7}v10"'
            ' stroke="#222" fill="none"/>',
            f'<text x="{max(end, high) + 6:.1f}" y="{top + 16}">{summary.median:.3g} {escape(unit)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: its name and its points (x, y), both above 0."""

    name: str
    points: Sequence[tuple[float, float]]


def line_chart(title: str, x_label: str, y_label: str, series: Sequence[Series]) -> str:
    """Lines over logarithmic axes, with a mark at each point and the decades of both axes, as an SVG document."""
    left, top, width, height = 70, 46, 520, 300
    xs, ys = (_decades([point[axis] for line in series for point in line.points]) for axis in (0, 1))

    def x_of(value: float) -> float:
        return left + width * (math.log10(value) - xs[0]) / (xs[-1] - xs[0])

    def y_of(value: float) -> float:
        return top + height * (1 - (math.log10(value) - ys[0]) / (ys[-1] - ys[0]))

    bottom = top + height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 30}" height="{bottom + 60}"'
        ' font-family="sans-serif" font-size="13" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="12" y="26" font-size="16" font-weight="bold">{escape(title)}</text>',
        f'<text x="{left + width / 2}" y="{bottom + 42}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text transform="translate(18 {top + height / 2}) rotate(-90)" text-anchor="middle">',
        f"{escape(y_label)}</text>",
    ]
    for decade in xs:
        x = x_of(10.0**decade)
        parts.append(f'<path d="M{x:.1f} {top}V{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{10.0**decade:g}</text>')
    for decade in ys:
        y = y_of(10.0**decade)
        parts.append(f'<path d="M{left} {y:.1f}H{left + width}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**decade:g}</text>')
    for index, line in enumerate(series):
        color, places = _COLORS[index % len(_COLORS)], [(x_of(x), y_of(y)) for x, y in line.points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path d="M{path}" stroke="{color}" stroke-width="2" fill="none"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>' for x, y in places]
        parts.append(f'<text x="{left + 12}" y="{top + 20 + 18 * index}" fill="{color}">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


_COLORS = ("#4c78a8", "#c44e52", "#55883b", "#8172b3")


def _decades(values: Sequence[float]) -> range:
    """Powers of ten around the values, at least two."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return range(low, max(high, low + 1) + 1)
