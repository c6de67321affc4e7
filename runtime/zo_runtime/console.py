"""Progress for people, on stderr: a live bar on a terminal, single lines in a log, JSON lines on demand.

Stdout is left to results, so that `zo run ... | jq` works.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TextIO

from pydantic_core import to_json
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column
from rich.text import Text

from zo_runtime.progress import Phase, Progress
from zo_runtime.records import EvaluationRecord, FlushRecord, PublishRecord, StepRecord
from zo_runtime.rounds.contract import Verdict
from zo_runtime.units import duration

# Seconds between two lines about steps in a log.
LINE_SECONDS = 10.0


class ConsoleObserver:
    """Shows a run's events. It reads the state from `progress`, so the tracker must hear of each event first."""

    def __init__(
        self,
        progress: Callable[[], Progress],
        stream: TextIO | None = None,
        *,
        json_lines: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to `stream` (default: stderr); with `json_lines`, one JSON object for each event."""
        self._progress = progress
        self._console = Console(file=stream or sys.stderr, highlight=False, markup=False, soft_wrap=True)
        self._json = json_lines
        self._clock = clock
        self._last_line = -LINE_SECONDS
        live = self._console.is_terminal and not self._console.is_dumb_terminal and not json_lines
        self._bar = self._new_bar() if live else None
        self._task: TaskID | None = None

    def _new_bar(self) -> Bar:
        return Bar(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
            TextColumn("{task.fields[state]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=self._console,
            redirect_stdout=False,
            refresh_per_second=4,
            expand=True,
        )

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def on_phase(self, phase: Phase) -> None:
        if self._bar:
            self._show_bar()
        elif self._json:
            self._event("phase", {"phase": phase})
        else:
            self._line(phase)

    def on_step(self, record: StepRecord) -> None:
        if self._bar:
            self._show_bar()
        elif self._json:
            self._event("step", dataclasses.asdict(record) | {"loss": record.loss})
        elif self._line_is_due(record):
            progress = self._progress()
            self._line(f"step {record.step}/{progress.total_steps}  {state(progress)}")

    def _line_is_due(self, record: StepRecord) -> bool:
        now = self._clock()
        if now - self._last_line < LINE_SECONDS and record.step < self._progress().total_steps:
            return False
        self._last_line = now
        return True

    def on_evaluation(self, record: EvaluationRecord) -> None:
        if self._json:
            self._event("evaluation", dataclasses.asdict(record))
            return
        accuracy = "" if record.accuracy is None else f", accuracy {record.accuracy:.1%}"
        self._line(
            f"step {record.step}: held-out loss {record.loss:.4f}{accuracy}"
            f" ({record.examples} examples in {duration(record.seconds)})"
        )

    def on_flush(self, record: FlushRecord) -> None:
        if self._json:  # for people a flush is the normal course of things
            self._event("flush", dataclasses.asdict(record))

    def on_publish(self, record: PublishRecord) -> None:
        if self._json:
            self._event("publish", dataclasses.asdict(record))
        else:
            self._line(f"step {record.step}: published version {record.version} ({record.digest[:12]})")

    def on_verdict(self, verdict: Verdict) -> None:
        if self._json:
            self._event("verdict", verdict.model_dump(mode="json", by_alias=True, exclude_none=True))
        elif verdict.reason != "Ungated":
            said = "accepted" if verdict.accepted else "rejected"
            self._line(f"gate: {said}, {verdict.reason}: {verdict.message}")

    def on_quarantine(self, counts: Mapping[str, int]) -> None:
        if self._json:
            self._event("quarantine", dict(counts))
        elif counts:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
            self._line(f"set aside {sum(counts.values())} records: {reasons}")

    def on_message(self, text: str) -> None:
        if self._json:
            self._event("message", {"text": text})
        else:
            self._line(text)

    def _show_bar(self) -> None:
        assert self._bar is not None
        progress = self._progress()
        if self._task is None:
            self._task = self._bar.add_task("", total=None, state="")
        self._bar.update(
            self._task,
            description=f"{progress.phase} {progress.step}/{progress.total_steps}",
            completed=progress.step,
            total=progress.total_steps or None,
            state=state(progress),
        )

    def _line(self, text: str) -> None:
        self._console.print(Text(text))

    def _event(self, name: str, fields: Mapping[str, object]) -> None:
        # A diverged loss is no number that JSON has: it is written as null.
        self._console.print(Text(to_json({"event": name, **fields}, inf_nan_mode="null").decode()))


def state(progress: Progress) -> str:
    """The state of a run, short enough for a terminal of 80 columns; what is not known yet is left out."""
    parts = []
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4f}")
    if progress.accuracy is not None:
        parts.append(f"acc {progress.accuracy:.1%}")
    if progress.step_seconds:
        parts.append(f"{1 / progress.step_seconds:.3g}/s")
    if progress.eta_seconds is not None:
        parts.append(f"{duration(progress.eta_seconds)} left")
    return "  ".join(parts)
