"""The story as one SVG: what each replica's clients measured over time, which version answered, and the events."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tools.story.timeline import Entry, Sample, line, version_name

from zo_runtime.report.scales import ticks

WIDTH, LEFT, RIGHT = 1000, 64, 24
_BAND, _PLOT, _ROW = 20, 300, 19
# Marks stand above the plot, so many rows of them, that neighbours do not cover each other.
_MARK_ROWS, _MARK = 3, 17
_REPLICAS = ("#4c78a8", "#c44e52", "#55883b", "#8172b3")
_SIDES = {"world": "#b35900", "operator": "#555", "result": "#555"}
# Fills of the versions' stretches, which take turns.
_FILLS = ("#e8e8e8", "#d7e5f2", "#f5e0c8", "#dcebd3", "#f2d5d7", "#e3dcf0")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which one version answered for a replica."""

    version: int
    begin: float
    end: float


def draw(title: str, samples: Sequence[Sample], entries: Sequence[Entry]) -> str:
    """The picture. `samples` must not be empty; of the events, those with a mark are shown."""
    marked = [entry for entry in entries if entry.mark]
    replicas = sorted({sample.replica for sample in samples})
    end = max(sample.seconds for sample in samples)
    top = 52 + _BAND * len(replicas) + _MARK * _MARK_ROWS
    bottom = top + _PLOT
    legend = bottom + 64
    height = legend + _ROW * ((len(marked) + 1) // 2) + 16
    scale = _Scale(end, top, bottom)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="sans-serif" font-size="13" fill="#222">',
        f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="12" y="26" font-size="16" font-weight="bold">{escape(title)}</text>',
        *_bands(replicas, samples, scale),
        *_axes(scale),
        *_marks(marked, scale, legend),
        *itertools.chain.from_iterable(
            _curve(_REPLICAS[number % len(_REPLICAS)], [s for s in samples if s.replica == name], scale)
            for number, name in enumerate(replicas)
        ),
        "</svg>",
    ]
    return "\n".join([*parts, ""])


def stretches(samples: Sequence[Sample]) -> list[Stretch]:
    """From when to when which version answered, by the samples of one replica: from its first sample to the next
    version's first one."""
    found: list[Stretch] = []
    for sample in sorted(samples, key=lambda s: s.seconds):
        if found and found[-1].version != sample.version:
            found[-1] = Stretch(found[-1].version, found[-1].begin, sample.seconds)
        if not found or found[-1].version != sample.version:
            found.append(Stretch(sample.version, sample.seconds, sample.seconds))
        found[-1] = Stretch(sample.version, found[-1].begin, sample.seconds)
    return found


@dataclass(frozen=True, slots=True)
class _Scale:
    end: float
    top: int
    bottom: int

    def x(self, seconds: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * seconds / max(self.end, 1.0)

    def y(self, accuracy: float) -> float:
        return self.bottom - (self.bottom - self.top) * accuracy


def _bands(replicas: Sequence[str], samples: Sequence[Sample], scale: _Scale) -> Iterator[str]:
    versions = sorted({sample.version for sample in samples})
    for row, name in enumerate(replicas):
        y = 44 + _BAND * row
        colour = _REPLICAS[row % len(_REPLICAS)]
        yield f'<text x="{LEFT - 6}" y="{y + 13}" text-anchor="end" fill="{colour}">{escape(name[-6:])}</text>'
        for part in stretches([s for s in samples if s.replica == name]):
            x, width = scale.x(part.begin), scale.x(part.end) - scale.x(part.begin)
            fill = _FILLS[versions.index(part.version) % len(_FILLS)]
            yield f'<rect x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="{_BAND - 3}" fill="{fill}"/>'
            if width > 26:
                yield f'<text x="{x + 4:.1f}" y="{y + 13}" font-size="11">{version_name(part.version)}</text>'


def _axes(scale: _Scale) -> Iterator[str]:
    for percent in range(0, 101, 20):
        y = scale.y(percent / 100)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent}%</text>'
    for minute in ticks(0.0, max(scale.end, 1.0) / 60, 12):
        x = scale.x(60 * minute)
        yield f'<path d="M{x:.1f} {scale.bottom}v5" stroke="#222"/>'
        yield f'<text x="{x:.1f}" y="{scale.bottom + 19}" text-anchor="middle">{minute:g}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{scale.bottom + 38}" text-anchor="middle">minutes</text>'
    middle = (scale.top + scale.bottom) / 2
    yield f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">answered rightly</text>'


def _curve(colour: str, samples: Sequence[Sample], scale: _Scale) -> Iterator[str]:
    places = [(scale.x(s.seconds), scale.y(s.accuracy)) for s in samples]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    yield f'<path d="M{path}" stroke="{colour}" stroke-width="1.5" fill="none" opacity="0.75"/>'
    yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in places)


def _marks(entries: Sequence[Entry], scale: _Scale, legend: int) -> Iterator[str]:
    """A numbered line for each event, and the numbers' meaning below."""
    half = (len(entries) + 1) // 2
    for number, entry in enumerate(entries, 1):
        x, colour = scale.x(entry.seconds), _SIDES[entry.kind]
        y = scale.top - 10 - _MARK * ((number - 1) % _MARK_ROWS)
        yield f'<path d="M{x:.1f} {y}V{scale.bottom}" stroke="{colour}" stroke-dasharray="3 3"/>'
        yield f'<circle cx="{x:.1f}" cy="{y}" r="8" fill="{colour}"/>'
        yield f'<text x="{x:.1f}" y="{y + 4}" font-size="10" text-anchor="middle" fill="#fff">{number}</text>'
        column, row = divmod(number - 1, half)
        at = line(entry, ())[:5]
        yield (
            f'<text x="{LEFT + column * (WIDTH - LEFT) / 2:.0f}" y="{legend + _ROW * row}" fill="{colour}">'
            f"{number}. {at} {escape(entry.mark)}</text>"
        )
