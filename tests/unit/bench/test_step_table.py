"""The table of steps: prompts of exact length, rounds within the budget, and every size told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import step_table
from bench.step_table import of_length, rounds_for
from zo_runtime.data.examples import Example

EXAMPLES = [Example((5, 6, 7), ((1,), (2,)), 0), Example((8, 9), ((1,), (2,)), 1)]


def test_prompts_have_the_length_and_follow_the_text() -> None:
    made = of_length(EXAMPLES, 3, 4)
    assert [e.prompt for e in made] == [(5, 6, 7, 8), (9, 5, 6, 7), (8, 9, 5, 6)]
    assert [e.target for e in made] == [0, 1, 0]


@pytest.mark.parametrize(("first", "rounds"), [(100.0, 1), (39.0, 1), (13.0, 3), (0.1, 7)])
def test_rounds_fit_the_budget(first: float, rounds: int) -> None:
    assert rounds_for(first, 40.0) == rounds


class Side:
    """A side that takes a set time for each example's token."""

    def __init__(self, per_token: float) -> None:
        self.per_token, self.batch, self.closed = per_token, EXAMPLES, False

    def use(self, batch: list[Example]) -> None:
        self.batch = batch

    def __call__(self) -> float:
        return self.run(self.batch)

    def run(self, batch: list[Example]) -> float:
        return self.per_token * sum(len(e.prompt) for e in batch)

    def step(self, batch: list[Example]) -> Any:
        return type("Step", (), {"seconds": self.run(batch)})

    def close(self) -> None:
        self.closed = True


def test_every_size_is_measured_and_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [Side(0.008), Side(0.002), Side(0.001), Side(0.016)]
    monkeypatch.setattr(step_table, "load_examples", lambda model, count: (EXAMPLES, "made up"))
    monkeypatch.setattr(
        step_table, "LoopProcess", lambda *a, variant, **k: sides[0 if variant == "one-sequence" else 3]
    )
    monkeypatch.setattr(step_table, "OursLoop", lambda *a: sides[1])
    monkeypatch.setattr(step_table, "PlainForward", lambda *a: sides[2])
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(step_table, "MOST_TOKENS_BY_LABEL", 6)
    step_table.main(["--model", str(tmp_path), "--batches", "2", "4", "--lengths", "3", "--out", str(tmp_path)])
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line == json.loads((tmp_path / "step_table.json").read_text())
    assert [(row["batch"], row["tokens"]) for row in line["rows"]] == [(2, 3), (4, 3)]
    assert line["rows"][0]["candidates_over_ours"] == 8.0
    assert line["rows"][1] == {
        "batch": 4, "tokens": 3, "rounds": 7, "lozo_seconds": 0.096, "ours_seconds": 0.024, "forward_seconds": 0.012,
        "lozo_over_ours": 4.0, "ours_over_forward": 2.0,
    }  # fmt: skip
    assert (tmp_path / "step_table.svg").read_text().startswith("<svg")
    assert all(side.closed for side in sides)
