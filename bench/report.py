"""Pure helpers of the benchmarks: summaries, ratios, rounds in turn, and a bar chart as SVG text."""

from __future__ import annotations

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
