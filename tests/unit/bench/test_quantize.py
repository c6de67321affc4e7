"""The quantized copies: read back by other code than wrote them, each is near the weights; nothing else changed."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tools.quantize import FORMATS, GROUP, packed, quantize

from zo_runtime.config.model import Model
from zo_runtime.deltalog.documents import ModelIdentity
from zo_runtime.errors import LogMismatch
from zo_runtime.scoring.shapes import model_digest
from zo_runtime.serving.base_model import base_digest, require_base

LAYER = "model.layers.0.mlp.up_proj"
OUT, IN = 96, 64


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    torch.manual_seed(2)
    tensors = {
        f"{LAYER}.weight": torch.randn(OUT, IN).to(torch.bfloat16),
        "model.layers.0.input_layernorm.weight": torch.ones(IN, dtype=torch.bfloat16),
        "model.embed_tokens.weight": torch.randn(8, IN).to(torch.bfloat16),
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"dtype": "bfloat16", "model_type": "llama"}))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def lanes(words: torch.Tensor, bits: int) -> torch.Tensor:
    """The numbers in int32 words, lowest bits first, along the last dimension."""
    parts = [words.to(torch.int64) >> shift & (2**bits - 1) for shift in range(0, 32, bits)]
    return torch.stack(parts, -1).view(*words.shape[:-1], -1)


def read_back(form: str, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """The weights [out, in] as the format's readers understand it."""
    held = {name.removeprefix(f"{LAYER}."): tensor for name, tensor in tensors.items() if name.startswith(LAYER)}
    if form == "int4":
        assert held["weight_shape"].tolist() == [OUT, IN]
        values = lanes(held["weight_packed"], 4) - 8
        return values.float() * held["weight_scale"].float().repeat_interleave(GROUP, 1)
    if form in {"gptq", "gptq8"}:
        bits = 8 if form == "gptq8" else 4
        group = held["g_idx"].long()
        zeros = lanes(held["qzeros"], bits)[group] + 1
        values = lanes(held["qweight"].t().contiguous(), bits).t() - zeros
        return (values * held["scales"].float()[group]).t()
    if form == "awq":
        order = torch.tensor([0, 4, 1, 5, 2, 6, 3, 7])

        def of(words: torch.Tensor) -> torch.Tensor:
            return lanes(words, 4).view(len(words), -1, 8)[:, :, order].view(len(words), -1)

        zeros, scales = (part.repeat_interleave(GROUP, 0) for part in (of(held["qzeros"]), held["scales"].float()))
        return ((of(held["qweight"]) - zeros) * scales).t()
    scale = held.get("weight_scale", held.get("weight_scale_inv"))
    assert scale is not None
    if form == "fp8-blocks":
        scale = scale.repeat_interleave(128, 0)[:OUT].repeat_interleave(128, 1)[:, :IN]
    return held["weight"].float() * scale


@pytest.mark.parametrize(
    ("form", "bound"),
    [("int8", 0.01), ("gptq8", 0.01), ("fp8", 0.03), ("fp8-rows", 0.03), ("fp8-blocks", 0.03),
     ("int4", 0.12), ("gptq", 0.12), ("awq", 0.12)],
)  # fmt: skip
def test_a_copy_is_near_the_weights(model: Path, tmp_path: Path, form: str, bound: float) -> None:
    copy = quantize(model, tmp_path / form, form)
    before, after = (load_file(folder / "model.safetensors") for folder in (model, copy))
    weight = before.pop(f"{LAYER}.weight").float()
    error = (read_back(form, after) - weight).norm() / weight.norm()
    assert error < bound
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    config = json.loads((tmp_path / form / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == FORMATS[form][1]["quant_method"]
    assert (tmp_path / form / "tokenizer.json").exists()


def test_a_log_of_one_base_is_refused_for_its_copies_and_the_other_way_round(model: Path, tmp_path: Path) -> None:
    folders = [model, *(quantize(model, tmp_path / form, form) for form in FORMATS)]
    digests = {folder: base_digest(str(folder), None, tmp_path / "digests.json") for folder in folders}
    for adapted in folders:
        assert (
            model_digest(Model(name=str(adapted))) == digests[adapted]
        )  # what a run writes is what a server expects
        log_model = ModelIdentity(name=str(adapted), digest=digests[adapted], dtype="bfloat16")
        for served in folders:
            expected = (
                nullcontext() if served == adapted else pytest.raises(LogMismatch, match="adapts the base model")
            )
            with expected:
                require_base(log_model, digests[served], str(served), "log")


def test_every_format_is_read_back() -> None:
    assert set(FORMATS) == {"int8", "gptq8", "fp8", "fp8-rows", "fp8-blocks", "int4", "gptq", "awq"}


def test_the_highest_bit_of_a_word_is_used() -> None:
    assert packed(torch.full((1, 8), 15)).tolist() == [[-1]]
