"""The simulated exchange: what is counted is what the formulas say, and grows as they do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.report import Series, line_chart
from bench.workers_simulation import InstantScorer, main, row, simulate
from zo_runtime.planning.wire import Network, scalar_step


def test_equal_items_cost_what_the_plan_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import workers_simulation
    from zo_runtime.data.examples import Example

    monkeypatch.setattr(
        workers_simulation, "examples", lambda count: [Example((i,), ((1,), (2,)), 0) for i in range(count)]
    )
    for workers, batch, directions in ((2, 16, 1), (5, 12, 3), (8, 64, 2)):
        found = simulate(workers, batch, directions, steps=3)
        planned = scalar_step(batch * directions, directions, workers)
        assert (found["bytes"], found["messages"]) == (planned.sent, planned.messages)
        assert (found["rounds"], found["serial_bytes"]) == (planned.rounds, planned.serial)
        assert found["collectives"] == 4


def test_a_worker_whose_bank_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from zo_runtime.errors import EngineFailed

    made = []

    class Forgetful(InstantScorer):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

        def apply(self, updates: object) -> None:
            if made.index(self) != 0:  # the first one belongs to the first follower
                super().apply(updates)  # type: ignore[arg-type]

    monkeypatch.setattr("bench.workers_simulation.InstantScorer", Forgetful)
    with pytest.raises(EngineFailed, match="worker 1 holds the bank"):
        simulate(3, 8, 1, steps=2)


def test_a_row_adds_the_leader_s_time_to_the_wire_s() -> None:
    found = {"workers": 4, "collectives": 4.0, "messages": 10.0, "bytes": 100.0, "rounds": 7.0,
             "serial_bytes": 1000.0, "leader_cpu_seconds": 0.5}  # fmt: skip
    shown = row(found, gradient_bytes=8000, network=Network(latency=0.1, bandwidth=1e4))
    assert shown["wire_seconds"] == pytest.approx(7 * 0.1 + 0.1)
    assert shown["scalar_seconds"] == pytest.approx(0.8 + 0.5)
    assert shown["gradient_seconds"] == pytest.approx(6 * 0.1 + 2 * 8000 * 3 / 4 / 1e4)


def test_the_command_writes_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--workers", "1", "3", "6", "--batch", "24", "--steps", "2", "--out", str(tmp_path)])
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert shown == json.loads((tmp_path / "workers_simulation.json").read_text())
    one, three, six = shown["rows"]
    assert one["bytes"] == one["gradient_bytes"] == 0
    assert three["bytes"] < six["bytes"] < three["gradient_bytes"] / 1000
    assert "<svg" in (tmp_path / "workers_simulation.svg").read_text()


def test_a_line_chart_has_a_mark_at_each_point_and_both_axes_decades() -> None:
    chart = line_chart("T <", "x", "y", [Series("a", [(1, 0.02), (100, 3.0)]), Series("b", [(10, 0.5)])])
    assert chart.count("<circle") == 3
    assert "T &lt;" in chart
    for decade in ("1", "10", "100", "0.01", "0.1"):
        assert f">{decade}</text>" in chart
