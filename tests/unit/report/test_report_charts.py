"""Charts are well-formed, described, in their box, and honest about what they leave out."""

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from fixtures.report_data import report_data, step_series
from zo_runtime.report.charts import accuracy_chart, charts, gradient_chart, loss_chart, time_chart
from zo_runtime.report.model import EvaluationPoint, ReportData
from zo_runtime.report.svg import draw


def drawn(chart: Any, width: int = 540, height: int = 300) -> ElementTree.Element:
    return ElementTree.fromstring(str(draw(chart, "wide", width, height)))


def paths(image: ElementTree.Element, kind: str) -> list[str]:
    return [path.attrib["d"] for path in image.iter("path") if kind in path.attrib["class"].split()]


@pytest.mark.parametrize("size", [(540, 300), (1110, 330), (350, 260)])
@pytest.mark.parametrize("count", [1, 2, 30, 5000])
def test_every_chart_is_described_and_stays_in_its_box(count: int, size: tuple[int, int]) -> None:
    width, height = size
    found = charts(report_data(count, every=max(1, count // 4)))
    assert [chart.key for chart in found] == ["accuracy", "loss", "gradient", "time"]
    for chart in found:
        image = drawn(chart, width, height)
        title, description = image.attrib["aria-labelledby"].split()
        texts = {element.attrib["id"]: element.text for element in image if "id" in element.attrib}
        assert texts[title] == chart.title
        assert texts[description]
        assert [text.text for text in image.iter("text") if text.attrib["class"] == "label"] == [
            chart.y_label,
            "step",
        ]
        assert len(paths(image, "grid") + paths(image, "zero")) >= 3
        for path in image.iter("path"):
            for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.attrib["d"]):
                assert 0 <= float(x) <= width
                assert 0 <= float(y) <= height


def test_long_runs_are_thinned_and_keep_the_spike() -> None:
    loss = np.full(20_000, 0.5)
    loss[12_345] = 0.9
    chart = loss_chart(report_data(steps=step_series(20_000, loss=loss), evaluations=()))
    assert chart is not None
    dots = chart.layers[0]
    assert len(dots.x) <= 600
    assert 0.9 in dots.y
    assert dots.x[dots.y.argmax()] == 12_346


def test_a_far_outlier_becomes_an_arrow_and_a_sentence() -> None:
    seconds = np.random.default_rng(1).uniform(0.3, 0.31, 500)
    seconds[0] = 42.0
    chart = time_chart(report_data(500, steps=step_series(500, seconds=seconds)))
    assert chart is not None
    assert chart.y_range[0] == 0
    assert chart.y_range[1] < 1
    assert chart.note == "One step lies beyond the axis, as far as 42: see the arrows."
    image = drawn(chart)
    assert len(paths(image, "beyond")) == 1
    assert paths(image, "dots")[0].count("M") == 499


def test_few_dots_are_drawn_strong_and_many_faint() -> None:
    few, many = time_chart(report_data(20)), time_chart(report_data(400))
    assert few is not None
    assert many is not None
    assert (len(paths(drawn(few), "sparse")), len(paths(drawn(many), "sparse"))) == (1, 0)


def test_what_is_not_finite_is_counted_not_drawn() -> None:
    gradient = np.array([1.0, np.nan, 2.0, np.inf])
    chart = gradient_chart(report_data(4, steps=step_series(4, projected_gradient=gradient)))
    assert chart is not None
    assert chart.note == "2 steps have no finite value."
    assert "nan" not in str(draw(chart, "wide", 540, 300))


def test_accuracy_names_its_ends_and_keeps_the_start_as_a_rule() -> None:
    chart = accuracy_chart(report_data())
    assert chart is not None
    assert chart.description == "From 54.0% at step 0 to 74.0% at step 400; best 74.0%."
    assert [layer.shape for layer in chart.layers] == ["rule", "marks"]
    assert paths(drawn(chart), "marks")[0].count("M") == 5


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
def test_constant_accuracy_has_an_axis_within_the_possible(accuracy: float) -> None:
    points = tuple(EvaluationPoint(step, 0.5, accuracy, 10) for step in (0, 10))
    chart = accuracy_chart(report_data(evaluations=points))
    assert chart is not None
    low, high = chart.y_range
    assert 0 <= low < high <= 1
    drawn(chart)


def test_all_charts_share_one_step_axis() -> None:
    assert {chart.x_range for chart in charts(report_data())} == {(0.0, 400.0)}


def nothing() -> ReportData:
    return report_data(0, every=1, steps=step_series(0), evaluations=(), versions=())


def test_without_points_there_is_no_chart() -> None:
    assert charts(nothing()) == []
    only_nan = report_data(3, steps=step_series(3, loss=np.full(3, np.nan)), evaluations=())
    assert [chart.key for chart in charts(only_nan)] == ["gradient", "time"]


def test_text_in_a_chart_is_escaped() -> None:
    chart = loss_chart(report_data())
    assert chart is not None
    object.__setattr__(chart, "title", "<b>&</b>")
    assert "<b>" not in str(draw(chart, "wide", 540, 300))
    drawn(chart)
