"""The command from end to end, with sides that take a set time instead of a model."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import step
from zo_runtime.data.examples import Example

EXAMPLES = [Example((5, 6, 7), ((1,), (2,)), 0), Example((8, 9), ((1,), (2,)), 1)]


class FakeLoop:
    """Stands for the child process; remembers what it was started with."""

    started: list["FakeLoop"] = []  # noqa: RUF012 - cleared by the fixture

    def __init__(self, loop: str, batch: list[Example], threads: int, **settings: Any) -> None:
        self.loop, self.settings, self.closed = loop, settings, False
        self.ready = {"threads": threads, "cores": 2, "preload": [], "parameters": 100}
        self.started.append(self)

    def __call__(self) -> float:
        return 10.0 if self.loop == "mezo" else 1.0

    def close(self) -> int:
        self.closed = True
        return 0


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    events: list[str] = []
    FakeLoop.started.clear()
    monkeypatch.setattr(step, "LoopProcess", FakeLoop)
    monkeypatch.setattr(step, "load_examples", lambda model, count: (EXAMPLES, "made up"))
    sides = (lambda: 0.25, lambda: 0.2, lambda: events.append("engine"))
    monkeypatch.setattr(step, "ours_and_forward", lambda *a, **k: sides)
    return events


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_the_last_line_is_json_with_ratios_medians_and_the_machine(
    closed: list[str], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = model / "results"
    step.main(["--model", str(model), "--rounds", "3", "--also", "candidates", "mezo", "--out", str(out)])
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["lozo_over_ours"], line["ours_over_forward"]) == (4.0, 1.25)
    assert (line["lozo_seconds"], line["ours_seconds"], line["forward_seconds"]) == (1.0, 0.25, 0.2)
    assert line["mezo_seconds"] == 10.0
    assert line["setting"]["tokens"] == 5
    assert line["machine"].keys() >= {"cpu", "cores", "torch", "vllm", "date"}
    assert json.loads((out / "step.json").read_text())["seconds"]["ours"] == [0.25] * 3
    assert (out / "step.svg").read_text().count("#4c78a8") == 5
    assert closed == ["engine"]
    assert [(f.loop, f.settings["variant"], f.closed) for f in FakeLoop.started] == [
        ("lozo", "one-sequence", True),
        ("lozo", "candidates", True),
        ("mezo", "one-sequence", True),
    ]
    assert "rank" not in FakeLoop.started[2].settings


def test_loops_are_closed_when_the_engine_does_not_start(
    closed: list[str], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise SystemExit("no engine")

    monkeypatch.setattr(step, "ours_and_forward", refuse)
    with pytest.raises(SystemExit, match="no engine"):
        step.main(["--model", str(model)])
    assert [loop.closed for loop in FakeLoop.started] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--model", "nowhere"], "nowhere has no config.json"), (["--model", ".", "--rounds", "0"], "0 is below 1")],
)
def test_bad_arguments_are_named(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(model)
    with pytest.raises(SystemExit):
        step.main(arguments)
    assert message in capsys.readouterr().err
