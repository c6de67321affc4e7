"""Write a quantized copy of a model in one of the checkpoint formats that vLLM reads.

    python -m tools.quantize MODEL FOLDER FORMAT

Weights are rounded to the nearest level, integers with the scale that leaves the least squared error. Quantizers that
look at activations do better at 4 bits; what they write has the same form, and the form is what the tests and the
benchmark are about. The decoder's linear layers are quantized, as is common; embeddings, head and norms are not.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

GROUP = 32
# Shares of the greatest magnitude that are tried as the end of the scale.
_SHRINK = tuple(1 - 0.04 * i for i in range(10))
# Where the eight 4-bit numbers of one int32 lie in AWQ's layout.
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
_FP8 = torch.float8_e4m3fn

Tensors = dict[str, torch.Tensor]


def scaled(weight: torch.Tensor, greatest: float, nearest: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """For each last row of `weight`, the scale [..., 1] with which `nearest(weight / scale)` is closest to it."""
    top = weight.abs().amax(-1, keepdim=True).clamp(min=1e-8)
    best, least = top / greatest, torch.full_like(top, torch.inf)
    for share in _SHRINK:
        scale = top * share / greatest
        error = (nearest(weight / scale) * scale - weight).square().sum(-1, keepdim=True)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best


def _integers(weight: torch.Tensor, bits: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Symmetric signed integers of `bits` bits, and the scales, as `dtype` holds them."""
    top = 2 ** (bits - 1)

    def nearest(x: torch.Tensor) -> torch.Tensor:
        return x.round().clamp(-top, top - 1)

    scale = scaled(weight, top - 1 if bits > 4 else top - 0.5, nearest).to(dtype).float()
    return nearest(weight / scale), scale


def _grouped(weight: torch.Tensor) -> torch.Tensor:
    """[out, in] as [out, groups, GROUP]."""
    return weight.float().view(len(weight), -1, GROUP)


def packed(values: torch.Tensor, bits: int = 4) -> torch.Tensor:
    """Unsigned numbers of `bits` bits, so many of the last dimension in each int32 as it holds, lowest bits first."""
    fits = 32 // bits
    lanes = values.to(torch.int64).view(*values.shape[:-1], -1, fits)
    words = (lanes << torch.arange(0, 32, bits)).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def int8(name: str, weight: torch.Tensor, dtype: torch.dtype) -> Tensors:
    """compressed-tensors W8A8: int8 rows, activations quantized token by token when they come."""
    values, scale = _integers(weight.float(), 8, torch.float32)
    return {f"{name}.weight": values.to(torch.int8), f"{name}.weight_scale": scale}


def int4(name: str, weight: torch.Tensor, dtype: torch.dtype) -> Tensors:
    """compressed-tensors W4A16: packed groups along the input."""
    values, scale = _integers(_grouped(weight), 4, dtype)
    return {
        f"{name}.weight_packed": packed((values + 8).view(weight.shape)),
        f"{name}.weight_scale": scale.squeeze(-1).to(dtype),
        f"{name}.weight_shape": torch.tensor(weight.shape),
    }


def gptq(name: str, weight: torch.Tensor, dtype: torch.dtype, bits: int = 4) -> Tensors:
    """GPTQ: packed along the input, [in / 8, out], symmetric, in the order of the inputs."""
    values, scale = _integers(_grouped(weight), bits, dtype)
    middle = 2 ** (bits - 1)
    groups = weight.shape[1] // GROUP
    return {
        f"{name}.qweight": packed((values + middle).view(weight.shape), bits).t().contiguous(),
        # Version 1 of the format keeps the zero point less one.
        f"{name}.qzeros": packed(torch.full((groups, len(weight)), middle - 1), bits),
        f"{name}.scales": scale.squeeze(-1).t().contiguous().to(dtype),
        f"{name}.g_idx": torch.arange(weight.shape[1], dtype=torch.int32) // GROUP,
    }


def gptq8(name: str, weight: torch.Tensor, dtype: torch.dtype) -> Tensors:
    """GPTQ with 8 bits."""
    return gptq(name, weight, dtype, bits=8)


def awq(name: str, weight: torch.Tensor, dtype: torch.dtype) -> Tensors:
    """AWQ: packed along the output, [in, out / 8], with a zero point for each group."""
    groups = _grouped(weight)
    low = groups.amin(-1, keepdim=True).clamp(max=0)
    scale = ((groups.amax(-1, keepdim=True).clamp(min=0) - low) / 15).clamp(min=1e-8).to(dtype).float()
    zero = (-low / scale).round().clamp(0, 15)
    values = ((groups / scale).round() + zero).clamp(0, 15).view(weight.shape)
    return {
        f"{name}.qweight": packed(_awq_order(values.t())),
        f"{name}.qzeros": packed(_awq_order(zero.squeeze(-1).t())),
        f"{name}.scales": scale.squeeze(-1).t().contiguous().to(dtype),
    }


def _awq_order(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(len(values), -1, 8)[:, :, _AWQ_ORDER].reshape(values.shape)


def fp8(name: str, weight: torch.Tensor, dtype: torch.dtype) -> Tensors:
    """FP8 with one scale a matrix; activations quantized when they come."""
    scale = weight.float().abs().max() / torch.finfo(_FP8).max
    return {f"{name}.weight": (weight.float() / scale).to(_FP8), f"{name}.weight_scale": scale}


def fp8_rows(name: str, weight: torch.Tensor, dtype: torch.dtype) -> Tensors:
    """compressed-tensors FP8 with one scale a row; activations quantized token by token when they come."""
    scale = weight.float().abs().amax(1, keepdim=True).clamp(min=1e-8) / torch.finfo(_FP8).max
    return {f"{name}.weight": (weight.float() / scale).to(_FP8), f"{name}.weight_scale": scale}


def fp8_blocks(name: str, weight: torch.Tensor, dtype: torch.dtype) -> Tensors:
    """FP8 with one scale for each block of 128 x 128, as DeepSeek's checkpoints have it."""
    out, into = weight.shape
    rows, columns = -(-out // 128), -(-into // 128)
    whole = torch.zeros(rows * 128, columns * 128)
    whole[:out, :into] = weight.float()
    blocks = whole.view(rows, 128, columns, 128)
    scale = blocks.abs().amax((1, 3)).clamp(min=1e-8) / torch.finfo(_FP8).max
    values = (blocks / scale[:, None, :, None]).view(whole.shape)[:out, :into]
    return {f"{name}.weight": values.to(_FP8).contiguous(), f"{name}.weight_scale_inv": scale}


def _compressed(format_: str, weights: dict[str, Any], activations: dict[str, Any] | None) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": {"dynamic": False, "symmetric": True, **weights}}
    if activations is not None:
        group["input_activations"] = {"dynamic": True, "symmetric": True, "strategy": "token", **activations}
    return {
        "quant_method": "compressed-tensors",
        "format": format_,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }


_INT8, _FLOAT8 = {"num_bits": 8, "type": "int"}, {"num_bits": 8, "type": "float"}
_GPTQ = {"quant_method": "gptq", "group_size": GROUP, "desc_act": False, "sym": True, "lm_head": False}

Writer = Callable[[str, torch.Tensor, torch.dtype], Tensors]
FORMATS: dict[str, tuple[Writer, dict[str, Any]]] = {
    "int8": (int8, _compressed("int-quantized", {**_INT8, "strategy": "channel"}, _INT8)),
    "int4": (
        int4,
        _compressed("pack-quantized", {"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP}, None),
    ),
    "awq": (
        awq,
        {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"},
    ),
    "gptq": (gptq, {**_GPTQ, "bits": 4}),
    "gptq8": (gptq8, {**_GPTQ, "bits": 8}),
    "fp8": (fp8, {"quant_method": "fp8", "activation_scheme": "dynamic"}),
    "fp8-rows": (fp8_rows, _compressed("float-quantized", {**_FLOAT8, "strategy": "channel"}, _FLOAT8)),
    "fp8-blocks": (
        fp8_blocks,
        {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    ),
}


def quantize(source: Path, target: Path, form: str) -> Path:
    """Write the copy, whole or not at all; return `target`."""
    writer, settings = FORMATS[form]
    config = json.loads((source / "config.json").read_text())
    dtype = getattr(torch, config["dtype"])
    tensors: Tensors = {}
    for file in sorted(source.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            if tensor.ndim == 2 and ".layers." in name:
                tensors |= writer(name.removesuffix(".weight"), tensor, dtype)
            else:
                tensors[name] = tensor
    partial = target.with_name(target.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for file in source.iterdir():
        if file.suffix in {".json", ".jinja", ".model"} and not file.name.endswith(".index.json"):
            shutil.copy(file, partial)
    (partial / "config.json").write_text(json.dumps(config | {"quantization_config": settings}, indent=1))
    save_file(tensors, partial / "model.safetensors", metadata={"format": "pt"})
    shutil.rmtree(target, ignore_errors=True)
    return partial.rename(target)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.quantize", description="Write a quantized copy of a model.")
    parser.add_argument("model", type=Path, help="folder of a Transformers model in safetensors")
    parser.add_argument("folder", type=Path, help="where the copy goes")
    parser.add_argument("format", choices=sorted(FORMATS))
    options = parser.parse_args()
    print(quantize(options.model, options.folder, options.format))


if __name__ == "__main__":
    main()
