"""`render`: from a run's data to one HTML page that loads nothing: no fonts, no images, no scripts of others."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from zo_runtime import __version__
from zo_runtime.report.charts import charts
from zo_runtime.report.headline import tiles
from zo_runtime.report.model import ReportData, Score
from zo_runtime.report.svg import Chart, Layer, draw
from zo_runtime.units import data_size, duration

# Width and height in CSS pixels: beside another chart, across the page, and on a phone.
_HALF, _FULL, _PHONE = (540, 300), (1110, 330), (350, 260)


@dataclass(frozen=True, slots=True)
class _Figure:
    chart: Chart
    hero: bool
    wide: Markup
    narrow: Markup
    points: list[dict[str, object]]


def render(data: ReportData) -> str:
    """The whole page. The same data always gives the same page."""
    environment = _environment()
    style, script = _asset(environment, "report.css"), _asset(environment, "report.js")
    drawn = charts(data)
    # An odd number of charts fills the grid when the first one takes a whole row.
    figures = [_figure(chart, hero=index == 0 and len(drawn) % 2 == 1) for index, chart in enumerate(drawn)]
    return environment.get_template("report.html.j2").render(
        data=data,
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        tiles=tiles(data),
        figures=figures,
        settings=list(_sections(data.settings)),
        commands=_commands(data),
        product_version=__version__,
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("zo_runtime.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=_count,
        percent=_percent,
        decimal=_decimal,
        moment=_moment,
        swatch=_swatch,
        breakable=_breakable,
        score=_score,
        duration=duration,
        size=data_size,
    )
    return environment


def _asset(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _hash(text: str) -> str:
    """The text's hash as a content security policy names it: nothing but our own style and script may act."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _figure(chart: Chart, *, hero: bool) -> _Figure:
    return _Figure(
        chart=chart,
        hero=hero,
        wide=draw(chart, "wide", *(_FULL if hero else _HALF)),
        narrow=draw(chart, "narrow", *_PHONE),
        points=[
            {
                "label": layer.label,
                "unit": chart.unit,
                "rule": layer.shape == "rule",
                "x": layer.x.tolist(),
                "y": [float(f"{value:.6g}") for value in layer.y.tolist()],
            }
            for layer in chart.layers
        ],
    )


def _swatch(layer: Layer) -> Markup:
    shapes = {
        "dots": "M5 6h0M14 4h0M23 8h0",
        "line": "M2 6H26",
        "rule": "M2 6H26",
        "marks": "M14 1l5 5-5 5-5-5z",
        "crosses": "M10 2l8 8m0-8l-8 8",
    }
    mark = Markup('<path class="{} tone{}" d="{}"/>').format(layer.shape, layer.tone, shapes[layer.shape])
    line = Markup('<path class="line tone{}" d="M2 6H26"/>').format(layer.tone)
    return line + mark if layer.shape == "marks" else mark


def _sections(settings: Mapping[str, object]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """One table for each top-level field that has fields, and a first one for those that are plain values."""
    plain = [(name, _value(value)) for name, value in settings.items() if not isinstance(value, Mapping)]
    if plain:
        yield "spec", plain
    for name, value in settings.items():
        if isinstance(value, Mapping) and (rows := list(_rows(value))):
            yield name, rows


def _rows(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _rows(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _value(value)


def _value(value: object) -> str:
    if value is None:
        return "\u2013"
    if isinstance(value, str):
        # Nobody should write a password into a URL; if somebody did, it does not get into the page.
        shown = re.sub(r"(?<=://)[^/@\s]+@", "\u2026@", value)
        return shown if shown and shown == shown.strip() else json.dumps(shown, ensure_ascii=False)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, default=str, ensure_ascii=False)


def _commands(data: ReportData) -> str:
    uri = shlex.quote(data.uri)
    newest = data.newest
    replay = f"\nzo replay {uri} --step {newest.step} --out adapter" if newest else ""
    return f"zo verify {uri}{replay}"


def _breakable(path: str) -> Markup:
    """A dotted path that a narrow column may break after its dots."""
    return Markup(".<wbr>").join(path.split("."))


def _count(value: int) -> str:
    return f"{value:,}"


def _percent(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.1%}"


def _decimal(value: float | None) -> str:
    return "\u2013" if value is None or not math.isfinite(value) else f"{value:.4f}"


def _score(value: Score | None) -> str:
    """The accuracy, or else the loss."""
    if value is None:
        return "\u2013"
    return _decimal(value.loss) if value.accuracy is None else _percent(value.accuracy)


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
