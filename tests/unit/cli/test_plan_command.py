"""`zo plan`: a table for people, JSON for scripts, one sentence for mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fakes.toy_manifest import manifest, write_manifest
from zo_runtime.cli import cli
from zo_runtime.errors import InvalidSpec, UnsupportedModel, ZOError


def plan(folder: Path, model: Path, *arguments: str, **changes: Any) -> str:
    content = manifest(folder, steps=2000, batchSize=32)
    content["spec"] |= {"model": {"name": str(model), "maxLength": 256}, **changes}
    result = CliRunner().invoke(cli, ["plan", str(write_manifest(folder, content)), *arguments])
    if isinstance(result.exception, ZOError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json_holds_every_figure(tmp_path: Path, tiny_model: Path) -> None:
    runtime = {"workers": 4, "tensorParallelSize": 2}
    found = json.loads(plan(tmp_path, tiny_model, "--json", "--gpu", "h100", "--gpu", "L4", runtime=runtime))
    assert [each["type"] for each in found["devices"]] == ["H100", "L4"]
    assert found["lengths"]["measured"]
    assert found["workers"]["count"] == 4
    assert found["workers"]["bytesPerStep"] < found["workers"]["adapterGradientBytesPerStep"]
    assert found["workers"]["adapterGradientBytesPerStep"] < found["workers"]["modelGradientBytesPerStep"]
    each = found["devices"][0]
    memory = each["memory"]
    parts = sum(size for name, size in memory.items() if name not in {"total", "device"})
    assert parts == pytest.approx(memory["total"], abs=8)
    assert sum(each["step"].values()) == pytest.approx(each["stepSeconds"], rel=1e-2)
    evaluating = each["evaluationSeconds"]
    assert each["hours"] == pytest.approx((2000 * each["stepSeconds"] + evaluating) / 3600, rel=1e-2)
    assert (found["steps"], found["evaluations"]) == (2000, 101)
    assert each["log"]["bytesPerStep"] > 0


def test_the_tables_name_every_type_and_what_was_measured(tmp_path: Path, tiny_model: Path) -> None:
    shown = plan(tmp_path, tiny_model)
    for name in ("H100", "H200", "B200", "A100-80GB", "A100-40GB", "L40S", "L4"):
        assert name in shown
    assert "measured on 300 records" in " ".join(shown.split())
    parts = plan(tmp_path, tiny_model, "--gpu", "cpu", runtime={"workers": 2})
    for word in ("cpu: memory", "adapter slots", "kv cache", "overhead", "exchange", "gradients"):
        assert word in parts
    missing = plan(tmp_path, tiny_model, data={"train": {"uri": "nowhere.jsonl"}})
    assert "at most 256 tokens" in missing
    assert "hours are without evaluations" in missing


def test_mistakes_are_one_sentence(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(InvalidSpec, match="--gpu TPU: unknown"):
        plan(tmp_path, tiny_model, "--gpu", "TPU")
    with pytest.raises(UnsupportedModel, match="cannot read a causal language model's configuration"):
        plan(tmp_path, tmp_path)
    with pytest.raises(InvalidSpec, match=r"spec\.runtime\.workers"):
        plan(tmp_path, tiny_model, runtime={"workers": "two"})
    with pytest.raises(InvalidSpec, match="largest LoRA rank"):
        plan(tmp_path, tiny_model, optimizer={"steps": 9, "rank": 200, "subspaces": 4})


def test_a_folder_without_a_tokenizer_gives_a_bound(tmp_path: Path) -> None:
    folder = tmp_path / "opt"
    folder.mkdir()
    sizes = {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = {"model_type": "opt", "architectures": ["OPTForCausalLM"], "word_embed_proj_dim": 32, **sizes}
    (folder / "config.json").write_text(json.dumps(config))
    found = json.loads(plan(tmp_path, folder, "--json"))
    assert not found["lengths"]["measured"]
    assert "no tokenizer there" in found["lengths"]["source"]
