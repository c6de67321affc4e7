"""Profiles a few steps of a run: a trace on disk, and a table of where the time went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zo_runtime.profiling.parts import Span, breakdown, table
from zo_runtime.records import StepRecord
from zo_runtime.telemetry.observer import Observers

WARM_UP = 3
"""Steps before the first one that counts: kernels are compiled and chosen in them."""
STEPS = 5


class StepProfiler(Observers):
    """An observer that hears of steps only. Tells `say` the table; the trace is Chrome's format, for Perfetto.

    What runs in other processes (the ranks of a tensor-parallel engine) is seen as waiting.
    """

    def __init__(self, trace: Path, say: Callable[[str], None]):
        super().__init__()
        self._trace, self._say = trace, say
        self._seen, self._seconds = 0, 0.0
        self._profiler: Any = None

    def on_step(self, record: StepRecord) -> None:
        self._seen += 1
        if self._profiler is not None:
            self._seconds += record.seconds
        if self._seen == WARM_UP:
            self._begin()
        elif self._seen == WARM_UP + STEPS:
            self._end()

    def finish(self) -> None:
        """The run has ended: say so if it was too short to be profiled."""
        if self._seen < WARM_UP + STEPS:
            if self._profiler is not None:
                self._profiler.stop()
                self._profiler = None
            self._say(
                f"--profile: no trace, for this run took {self._seen} steps and a profile needs {WARM_UP + STEPS}"
            )

    def _begin(self) -> None:
        import torch  # noqa: PLC0415 - the engine has loaded it by now
        from torch.profiler import ProfilerActivity, profile  # noqa: PLC0415

        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._profiler = profile(activities=activities)
        self._profiler.start()

    def _end(self) -> None:
        self._profiler.stop()
        self._profiler.export_chrome_trace(str(self._trace))
        spans = list(_spans(self._profiler.events()))
        self._profiler = None
        self._say(table(breakdown(spans, STEPS, self._seconds), STEPS, self._seconds))
        self._say(f"trace of {STEPS} steps: {self._trace} (open it at ui.perfetto.dev)")


def _spans(events: Any) -> Iterator[Span]:
    """The operations of the busier side: a GPU's kernels where there are any, else what the training thread ran."""
    from torch.autograd import DeviceType  # noqa: PLC0415

    kernels = [event for event in events if event.device_type == DeviceType.CUDA]
    if kernels:
        for event in kernels:
            yield Span(event.name, 1e-6 * event.self_device_time_total)
        return
    main = max(events, key=lambda event: event.time_range.elapsed_us()).thread
    for event in events:
        if event.thread == main:
            yield Span(event.name, 1e-6 * event.self_cpu_time_total, tuple(_around(event)))


def _around(event: Any) -> Iterator[str]:
    while (event := event.cpu_parent) is not None:
        yield event.name
