"""Rounds in a report: from the log's documents to lines, chart, headline and table."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from fixtures.report_data import START, drifting_rounds, report_data, round_line, sha
from zo_runtime.deltalog.documents import Cost, DataEntry, DataList, Evaluation, ObjectRef, Version
from zo_runtime.report.headline import tiles
from zo_runtime.report.render import render
from zo_runtime.report.round_chart import REJECTED, SERVED, round_chart
from zo_runtime.report.rounds import round_lines
from zo_runtime.report.scales import tick_labels, ticks
from zo_runtime.rounds.contract import Comparison, Verdict, VersionReference


def entry(name: str, first: int, last: int) -> DataEntry:
    return DataEntry(name=name, etag="e", size=100, sha256=sha(name), first=first, last=last, records=50)


def version(number: int, first: int, last: int, **fields: Any) -> Version:
    values: dict[str, Any] = {
        "number": number, "run": sha("run"), "previous": sha(number - 1) if number > 1 else None,
        "first_step": first, "last_step": last, "metrics": (), "cursor": 0, "data_digest": "d",
        "segments": (ObjectRef(key="s", first=1, last=2, size=70, sha256=sha("s")),) if last >= first else (),
        "evaluation": None, "digest": sha(number), "created": START + timedelta(minutes=number),
    }  # fmt: skip
    return Version(**(values | fields))


def compared(metric: str) -> Verdict:
    held_out = Comparison.model_validate(
        {"metric": metric, "examples": 9, "candidate": 0.8, "served": 0.6, "gain": 0.2, "margin": 0, "pValue": 0.01}
    )
    return Verdict(accepted=True, reason="Improved", held_out=held_out)


REFERENCE = VersionReference(version=1, sha256=sha("one"))
VERSIONS = (
    version(1, 1, 0, round=1, data_list=sha("a"), evaluation=Evaluation(loss=0.7, accuracy=0.5, examples=9),
            cost=Cost(seconds=5, accelerators=4)),
    version(2, 1, 50, round=1, data_list=sha("a"), cost=Cost(seconds=10, accelerators=4)),
    version(3, 51, 100, round=1, data_list=sha("a"), evaluation=Evaluation(loss=0.4, accuracy=0.8, examples=9),
            cost=Cost(seconds=10, accelerators=2), verdict=compared("loss")),
    version(4, 101, 140, round=3, data_list=sha("b"), evaluation=Evaluation(loss=0.3, accuracy=0.9, examples=9)),
)  # fmt: skip
LISTS = {
    1: DataList(round=1, first_step=1, base=None, served=None, train=(entry("a", 1, 50), entry("b", 11, 20))),
    3: DataList(round=3, first_step=101, base=REFERENCE, served=REFERENCE, train=(entry("c", 1, 5),)),
}


def test_a_line_sums_its_rounds_versions_up() -> None:
    first, second = round_lines(VERSIONS, LISTS)
    assert (first.number, first.steps, first.base, first.version) == (1, 100, None, 3)
    assert (first.objects, first.records) == (2, 60)
    assert (first.seconds, first.accelerator_seconds, first.log_bytes) == (25, 80, 140)
    assert (first.started, first.ended) == (VERSIONS[0].created, VERSIONS[2].created)
    assert first.served is not None
    assert first.candidate is not None
    assert (first.served.accuracy, first.candidate.accuracy) == (0.5, 0.8)
    assert first.verdict is not None
    assert (second.number, second.steps, second.base, second.verdict, second.served) == (3, 40, 1, None, None)
    assert (second.seconds, second.accelerator_seconds) == (0, 0)


@pytest.mark.parametrize(("metric", "loss", "accuracy"), [("loss", 0.6, None), ("accuracy", None, 0.6)])
def test_a_round_that_starts_anew_has_what_was_served_from_the_gate(
    metric: str, loss: float | None, accuracy: float | None
) -> None:
    lists = {1: LISTS[1].model_copy(update={"served": REFERENCE})}
    versions = (*VERSIONS[:2], VERSIONS[2].model_copy(update={"verdict": compared(metric)}))
    (line,) = round_lines(versions, lists)
    assert line.served is not None
    assert (line.served.loss, line.served.accuracy) == (loss, accuracy)


def test_a_run_without_rounds_has_no_lines() -> None:
    assert round_lines((version(1, 1, 0), version(2, 1, 5)), {}) == ()


def test_the_chart_falls_with_the_drift_and_spares_what_was_rejected() -> None:
    chart = round_chart(drifting_rounds())
    assert chart is not None
    served, rejected = chart.layers
    assert (served.tone, rejected.tone) == (SERVED, REJECTED)
    assert served.y.tolist() == [0.5, 0.8, 0.62, 0.79, 0.78, 0.78, 0.77, 0.84]
    assert rejected.y.tolist() == [0.55]
    assert rejected.x.tolist() == [(START + timedelta(hours=9, minutes=20)).timestamp()]
    assert np.all(np.diff(served.x) > 0)
    assert chart.x_unit == "time"
    assert chart.y_range[0] < 0.5 < 0.84 < chart.y_range[1]


def test_without_accuracy_it_shows_the_loss() -> None:
    chart = round_chart([round_line(1, 0.7, 0.5, accuracy=False)])
    assert chart is not None
    assert chart.unit == "number"
    assert [layer.y.tolist() for layer in chart.layers] == [[0.7, 0.5]]


@pytest.mark.parametrize("rounds", [(), (replace(round_line(1, 0.5, 0.8), served=None, verdict=None),)])
def test_there_is_no_chart_without_points(rounds: Any) -> None:
    assert round_chart(rounds) is None


def test_the_headline_tells_the_newest_gain_and_the_verdicts() -> None:
    found = {tile.name: (tile.value, tile.detail) for tile in tiles(report_data(rounds=drifting_rounds()))}
    assert found["Served accuracy"] == ("77.0% \u2192 84.0%", "by round 4, on 200 examples of its own")
    assert found["Rounds"] == ("4", "3 accepted, 1 rejected")
    assert found["GPU time"] == ("5 h 20 min", "1 h 20 min a round, 2 min 20 s in steps")
    one = report_data(rounds=(round_line(1, 0.7, 0.5, accuracy=False, verdict=None, accelerator_seconds=0.0),))
    found = {tile.name: (tile.value, tile.detail) for tile in tiles(one)}
    assert found["Rounds"] == ("1", "0 accepted, 0 rejected, 1 without a verdict")
    assert "Time in steps" in found


def test_what_is_named_and_replayed_is_the_newest_accepted_version() -> None:
    data = report_data(rounds=(round_line(1, 0.5, 0.8), round_line(2, 0.8, 0.7)))
    assert [version.number for version in data.versions] == [1, 2, 3, 4]
    assert data.newest == data.versions[1]
    page = render(data)
    assert "<dt>Newest accepted version</dt><dd>2 at step 200</dd>" in page
    assert "--step 200 --out adapter" in page
    assert report_data().newest == report_data().versions[-1]
    assert report_data(rounds=(round_line(2, 0.8, 0.7),)).newest == data.versions[-1]


def test_the_table_has_a_row_for_each_round_newest_first() -> None:
    page = render(report_data(rounds=drifting_rounds()))
    body = page.partition('id="rounds-table"')[2].partition("</section>")[0]
    rows = re.findall(r"<tr><th scope=\"row\" class=\"n\">(\d+)</th>(.*?)</tr>", body)
    assert [number for number, _ in rows] == ["4", "3", "2", "1"]
    assert "base model" in rows[-1][1]
    assert rows[1][1].endswith("<td>NoImprovement</td>")
    assert body.count('<td colspan="12">as it is</td>') == 4
    assert "1 h 20 min" in rows[0][1]


@pytest.mark.parametrize(
    ("span", "labels"),
    [
        (20, ["10:00:00", "10:00:05", "10:00:10", "10:00:15", "10:00:20"]),
        (110, ["10:00:00", "10:00:30", "10:01:00", "10:01:30"]),
        (3600, ["10:00", "10:15", "10:30", "10:45", "11:00"]),
        (9.7 * 3600, ["10:00", "12:00", "14:00", "16:00", "18:00"]),
        (36 * 3600, ["03-01 16:00", "03-02 00:00", "03-02 08:00", "03-02 16:00"]),
        (5 * 86400, ["2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06"]),
        (400 * 86400, ["2026-05-27", "2026-09-04", "2026-12-13", "2027-03-23"]),
    ],
)
def test_times_have_round_ticks(span: float, labels: list[str]) -> None:
    low = START.timestamp()
    assert tick_labels(ticks(low, low + span, 5, "time"), "time") == labels
