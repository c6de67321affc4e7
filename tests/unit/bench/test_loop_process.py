"""The loop in its own process: the same numbers as here, its own threads, and a clear end when it dies."""

import os
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bench.loop_process import LoopProcess
from zo_runtime.data.examples import Example

BATCH = [Example((5, 6, 7), ((1,), (2,)), 0), Example((8, 9), ((1,), (2,)), 1)]


def test_a_child_steps_on_request_with_its_own_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)  # what vLLM's CPU worker does
    child = LoopProcess("lozo", BATCH, threads=1, model_dir=str(tmp_path), variant="one-sequence", rank=2, seed=5)
    try:
        assert child.ready["threads"] == 1
        assert child.ready["cores"] == len(os.sched_getaffinity(0))
        assert child.ready["parameters"] == 4 * 16 * 16 + 3 * 16 * 32
        seconds = [child(), child()]
    finally:
        child.close()
    assert seconds == [step["seconds"] for step in child.steps]
    for step in child.steps:
        parts = step["perturb_seconds"] + step["forward_seconds"] + step["update_seconds"]
        assert 0 < parts == pytest.approx(step["seconds"], abs=1e-6)
    assert child.steps[0]["loss_plus"] == pytest.approx(0.69, abs=0.2)  # two candidates, random weights
    assert child.steps[0]["projected_gradient"] != child.steps[1]["projected_gradient"]


def test_a_child_that_dies_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="lozo loop: its process ended with code 1"):
        LoopProcess("lozo", BATCH, threads=1, model_dir=str(tmp_path), variant="one-sequence")
