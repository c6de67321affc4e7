"""What people see: a bar on a terminal, sparse lines in a log, JSON on demand; never on stdout."""

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.console import LINE_SECONDS, ConsoleObserver
from zo_runtime.progress import Progress
from zo_runtime.records import EvaluationRecord, FlushRecord, PublishRecord, StepRecord
from zo_runtime.rounds.contract import Verdict
from zo_runtime.telemetry.observer import Observers
from zo_runtime.telemetry.tracker import ProgressTracker
from zo_runtime.units import data_size, duration


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(stream: io.StringIO, steps: int = 40, seconds: float = 1.0, *, json_lines: bool = False) -> str:
    """Report a short run, one step each `seconds` of a clock of its own, and return what was written."""
    now = [0.0]
    tracker = ProgressTracker(Progress(total_steps=steps))
    with ConsoleObserver(tracker.snapshot, stream, json_lines=json_lines, clock=lambda: now[0]) as console:
        observers = Observers(tracker, console)
        observers.on_phase("Loading")
        observers.on_message("a [bold]message[/bold] with " + "many words " * 20)
        observers.on_quarantine({"too long": 2, "no label": 1})
        observers.on_quarantine({})
        observers.on_evaluation(EvaluationRecord(0, 0.69, 0.541, 872, 12.4))
        observers.on_phase("Training")
        for step in range(1, steps + 1):
            observers.on_step(StepRecord(step, 0, (0.75,), (0.25,), (float("nan"),), (1.0,), 1e-3, 600, seconds))
            now[0] += seconds
        observers.on_flush(FlushRecord(steps, 100, "ab" * 32, 100))
        observers.on_evaluation(EvaluationRecord(steps, 0.5, None, 872, 12.4))
        observers.on_verdict(Verdict(accepted=False, reason="NoImprovement", message="a gain of 0 [p = 1]"))
        observers.on_verdict(Verdict(accepted=True, reason="Ungated"))
        observers.on_publish(PublishRecord(1, steps, "ab" * 32))
        observers.on_phase("Finished")
    return stream.getvalue()


def test_a_log_gets_plain_lines_and_few_of_them() -> None:
    lines = run(io.StringIO()).splitlines()
    assert lines == [
        "Loading",
        "a [bold]message[/bold] with " + "many words " * 20,
        "set aside 3 records: 1 no label, 2 too long",
        "step 0: held-out loss 0.6900, accuracy 54.1% (872 examples in 12 s)",
        "Training",
        "step 1/40  loss 0.5000  acc 54.1%  1/s  39 s left",
        "step 11/40  loss 0.5000  acc 54.1%  1/s  29 s left",
        "step 21/40  loss 0.5000  acc 54.1%  1/s  19 s left",
        "step 31/40  loss 0.5000  acc 54.1%  1/s  9 s left",
        "step 40/40  loss 0.5000  acc 54.1%  1/s  0 s left",
        "step 40: held-out loss 0.5000 (872 examples in 12 s)",
        "gate: rejected, NoImprovement: a gain of 0 [p = 1]",
        "step 40: published version 1 (abababababab)",
        "Finished",
    ]
    assert LINE_SECONDS == 10


def test_json_lines_hold_every_event_and_only_json() -> None:
    events = [
        json.loads(line, parse_constant=pytest.fail) for line in run(io.StringIO(), json_lines=True).splitlines()
    ]
    names = "phase message quarantine quarantine evaluation phase flush evaluation verdict verdict publish phase"
    assert " ".join(event["event"] for event in events if event["event"] != "step") == names
    steps = [event for event in events if event["event"] == "step"]
    assert len(steps) == 40
    assert (steps[0]["loss"], steps[0]["projected_gradients"]) == (0.5, [None])


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_gets_one_live_line_and_the_messages(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", run(Terminal()).replace("\r", "\n"))
    assert "a [bold]message[/bold]" in text
    assert "published version 1" in text
    final = [line for line in text.splitlines() if line.startswith("Finished")]
    assert final
    assert all(len(line) <= columns for line in final)
    if columns >= 80:
        assert "Finished 40/40" in final[-1]
        assert "loss 0.5000" in final[-1]


def test_a_dumb_terminal_is_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert run(Terminal()) == run(io.StringIO())


def test_the_default_is_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleObserver(Progress).on_message("hello")
    assert capsys.readouterr() == ("", "hello\n")


def test_quantities() -> None:
    times = [0, 0.0042, 0.42, 9.94, 9.96, 59.4, 59.6, 3599.4, 3599.6, 86399, 86400, 3 * 86400 + 7200]
    assert [duration(seconds) for seconds in times] == [
        "0 s", "0.0042 s", "0.42 s", "9.9 s", "10 s", "59 s", "1 min 00 s", "59 min 59 s", "1 h 00 min",
        "23 h 59 min", "1 d 00 h", "3 d 02 h",
    ]  # fmt: skip
    sizes = [0, 22.4, 999, 1000, 1536, 250 * 2**20, 3 * 2**40]
    assert [data_size(size) for size in sizes] == [
        "0 B",
        "22.4 B",
        "999 B",
        "0.977 KiB",
        "1.5 KiB",
        "250 MiB",
        "3 TiB",
    ]


@given(st.floats(0, 1e9))
def test_durations_read_plainly(seconds: float) -> None:
    assert re.fullmatch(r"[0-9.e+-]+ (s|min [0-5]\d s|h [0-5]\d min|d [0-2]\d h)", duration(seconds))
