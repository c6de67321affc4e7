"""A profile of a few steps of a run, and the word that a run was too short for one."""

import json
from pathlib import Path

import pytest
import torch

from zo_runtime.profiling.profiler import STEPS, WARM_UP, StepProfiler
from zo_runtime.records import StepRecord


def profiled(trace: Path, steps: int) -> list[str]:
    said: list[str] = []
    profiler = StepProfiler(trace, said.append)
    for step in range(1, steps + 1):
        torch.ones(64, 64) @ torch.ones(64, 64)
        profiler.on_step(StepRecord(step, 0, (0.5,), (0.4,), (1.0,), (0.1,), 1e-3, 10, 0.01))
    profiler.finish()
    return said


def test_a_run_that_is_long_enough_leaves_a_trace_and_a_table(tmp_path: Path) -> None:
    table, where = profiled(tmp_path / "trace.json", WARM_UP + STEPS + 4)
    assert "a step, mean of 5" in table and "10.00" in table
    assert str(tmp_path / "trace.json") in where
    names = {event.get("name") for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]}
    assert "aten::mm" in names


@pytest.mark.parametrize("steps", [0, WARM_UP, WARM_UP + STEPS - 1])
def test_a_run_that_is_too_short_is_told_of(tmp_path: Path, steps: int) -> None:
    assert profiled(tmp_path / "trace.json", steps) == [
        f"--profile: no trace, for this run took {steps} steps and a profile needs 8"
    ]
    assert not (tmp_path / "trace.json").exists()
