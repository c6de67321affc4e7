"""The GPU benchmarks without a GPU: shapes, counting, the command with sides that take a set time, the replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import gpu_replay, gpu_step
from zo_runtime.config.model import Model
from zo_runtime.data.examples import Example
from zo_runtime.planning.facts import read_facts


@pytest.mark.parametrize(("size", "billions"), [("1.3b", 1.316), ("6.7b", 6.658), ("13b", 12.853)])
def test_the_shapes_are_those_of_the_published_models(size: str, billions: float, tmp_path: Path) -> None:
    facts = read_facts(Model(name=str(gpu_step.write_model(tmp_path / size, size))))
    assert facts.parameters / 1e9 == pytest.approx(billions, abs=0.001)


def test_a_step_counts_two_forwards_of_the_batch(tmp_path: Path) -> None:
    facts = read_facts(Model(name=str(gpu_step.write_model(tmp_path / "tiny", "tiny"))))
    examples = gpu_step.made_up(16)
    linear = 2 * facts.linear_weights * 2 * sum(len(e.prompt) for e in examples)
    assert linear < gpu_step.step_flops(facts, examples) < 4 * linear  # the head is large beside a tiny model
    assert gpu_step.made_up(16) == examples
    assert 20 < sum(len(e.prompt) for e in gpu_step.made_up(400)) / 400 < 28


def test_a_known_gpu_is_planned_for(tmp_path: Path) -> None:
    facts = read_facts(Model(name=str(gpu_step.write_model(tmp_path / "m", "1.3b"))))
    some = gpu_step.made_up(16)
    h100, l40s = (gpu_step.planned_seconds(facts, some, f"NVIDIA {name}") for name in ("H100 80GB HBM3", "L40S"))
    assert 0 < (h100 or 0) < (l40s or 0)
    assert gpu_step.planned_seconds(facts, some, "NVIDIA GeForce") is None
    assert gpu_step.planned_seconds(facts, some, None) is None


class FakeLoop:
    """Stands for a child process: the LOZO loop takes a second, ours a quarter."""

    def __init__(self, loop: str, batch: list[Example], threads: int, **settings: Any) -> None:
        self.ours, self.count = loop == "ours", len(batch)

    def use(self, batch: list[Example]) -> None:
        self.count = len(batch)

    def __call__(self) -> float:
        return self.count * (0.25 if self.ours else 1.0)

    def close(self) -> int:
        return 0


def test_the_command_writes_a_row_for_each_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_step, "LoopProcess", FakeLoop)
    monkeypatch.setattr(gpu_step, "peak_flops", lambda device: 1e12)
    gpu_step.main(["--dry-run", "--batches", "3", "5", "--out", str(tmp_path)])
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert shown == json.loads((tmp_path / "gpu_step.json").read_text())
    assert [(r["examples"], r["lozo_over_ours"], r["ours_seconds"]) for r in shown["rows"]] == [
        (3, 4.0, 0.75),
        (5, 4.0, 1.25),
    ]
    assert all(0 < r["roofline_share"] < 1 for r in shown["rows"])
    assert shown["dry_run"] is True
    assert "<svg" in (tmp_path / "gpu_step.svg").read_text()


def test_without_a_gpu_the_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for command in (gpu_step.main, gpu_replay.main):
        with pytest.raises(SystemExit, match="no NVIDIA GPU here"):
            command([])


def test_a_large_product_has_a_rate() -> None:
    assert gpu_step.peak_flops("cpu", rounds=1) > 1e8


def test_the_replay_s_sides_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu_replay.main(["--dry-run", "--steps", "120", "--out", str(tmp_path)])
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (shown["steps"], shown["numbers_a_step"]) == (120, 4 * 96 * 2)
    assert shown["device_seconds"] >= 0
    assert shown["seeded_torch_loop_seconds"] > 0
    assert shown["generator"] == "TorchDraws"  # on a CPU
    assert 0 < shown["numbers_added_per_second"] < 1e10
    assert 0 < shown["numbers_drawn_per_second"] < 1e10
    assert "<svg" in (tmp_path / "gpu_replay.svg").read_text()


def test_a_bank_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_replay.DeviceBank, "digest", lambda self: "other")
    with pytest.raises(RuntimeError, match="the device's bank is not the host's"):
        gpu_replay.measure(gpu_replay.SMALL, 5, "cpu")
