"""Quantized bases through `zo run`: the log replays to the bits of the engine's bank, and belongs to its base."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.quantize import quantize

from fakes.toy_manifest import manifest

ZO = Path(sys.executable).with_name("zo")


def write(folder: Path, model: Path, **fields: Any) -> Path:
    """A manifest for a base, whose log is the same one for all bases in the folder."""
    document = manifest(folder, steps=4, batchSize=4, learningRate=1e-4, interval=2)
    document["spec"]["model"] = {"name": str(model), "maxLength": 64, "dtype": "bfloat16", **fields}
    path = folder / f"{model.name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def zo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ZO, *arguments], check=False, capture_output=True, text=True, timeout=300)


@pytest.mark.vllm
@pytest.mark.parametrize("form", ["int8", "awq"])
def test_a_log_of_a_quantized_base_replays_and_is_refused_for_another_base(
    tmp_path: Path, tiny_model: Path, form: str
) -> None:
    ran = zo("run", write(tmp_path, quantize(tiny_model, tmp_path / form, form)))
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "RunwiseLoRA" in ran.stderr  # around the quantized layers too
    result = json.loads(ran.stdout.splitlines()[-1])
    replayed = zo("replay", result["log_uri"], "--out", tmp_path / "adapter", "--json")
    assert json.loads(replayed.stdout)["digest"] == result["digest"]  # which the engine's bank has at each flush
    other = zo("run", write(tmp_path, tiny_model))
    assert other.returncode == 8, other.stderr[-2000:]
    assert "belongs to another run: model" in other.stderr


@pytest.mark.vllm
def test_a_quantization_that_the_cpu_lacks_is_one_sentence(tmp_path: Path, tiny_model: Path) -> None:
    ran = zo("run", write(tmp_path, quantize(tiny_model, tmp_path / "gptq8", "gptq8")))
    assert ran.returncode == 4, ran.stderr[-3000:]
    said = ran.stderr.strip().splitlines()[-1]
    assert (
        f"spec.model.name: {tmp_path / 'gptq8'}: vLLM does not run its quantization, gptq with 8 bits, on cpu" in said
    )
    assert "give the unquantized model, or a checkpoint of one of the methods that docs/quantization.md lists" in said
