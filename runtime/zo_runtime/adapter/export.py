"""The bank as one ordinary LoRA adapter, in the format that PEFT and stock vLLM load.

All subspaces side by side make one adapter of rank K*r: `lora_A.weight` [K*r, in] holds the A_k one below the other,
`lora_B.weight` [out, K*r] the B_k side by side, and `lora_alpha` = K*r makes the scale 1. vLLM takes any rank up to
its `--max-lora-rank`, so nothing is padded.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zo_runtime.adapter.tensor_file import Dtype, Floats, Tensor, read_metadata, write_tensors
from zo_runtime.deltalog.checked_json import encode, sha256
from zo_runtime.deltalog.documents import RunInfo
from zo_runtime.errors import InvalidSpec, LogCorrupt, StorageError
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.layout import FLOAT16_SHIFT

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """What an exported adapter says of itself: hash of its run.json, step, bank's digest, rank."""

    run_sha256: str
    step: int
    digest: str
    rank: int


def export_peft(bank: Bank, run: RunInfo, out_dir: Path, dtype: Dtype = "float32") -> AdapterInfo:
    """Write the adapter into `out_dir`, which appears whole or not at all; an adapter that is there is replaced.

    The same bank, run and dtype give the same bytes. Every dtype holds A exactly, only float32 holds B so. Raise
    `InvalidSpec` if `out_dir` holds something else or `dtype` cannot hold the numbers, `StorageError`.
    """
    if out_dir.exists() and not (out_dir.is_dir() and (not any(out_dir.iterdir()) or (out_dir / CONFIG).is_file())):
        raise InvalidSpec(f"{out_dir} holds something that is no adapter; give an empty or a new folder")
    info = AdapterInfo(sha256(encode(run)), bank.step, bank.digest(), bank.layout.adapter_rank)
    config = json.dumps(_config(bank, run), indent=2, sort_keys=True).encode() + b"\n"
    metadata = {
        "format": "pt",
        "run": info.run_sha256,
        "run_name": run.name,
        "step": str(info.step),
        "digest": info.digest,
        "rank": str(info.rank),
        "config_sha256": sha256(config),
    }
    temporary = out_dir.with_name(f"{out_dir.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir(parents=True)
        (temporary / CONFIG).write_bytes(config)
        write_tensors(temporary / WEIGHTS, list(_tensors(bank, dtype)), dtype, metadata)
        _put_in_place(temporary, out_dir)
    except OSError as error:
        raise StorageError(f"{out_dir}: {error.strerror}; free space or give another folder") from None
    except ValueError as error:
        raise InvalidSpec(f"dtype {dtype}: {error}; export as float32") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return info


def read_adapter(folder: Path) -> AdapterInfo:
    """Verify every byte of an exported adapter. Raise `LogCorrupt` with the remedy."""
    try:
        metadata = read_metadata(folder / WEIGHTS)
        if sha256((folder / CONFIG).read_bytes()) != metadata["config_sha256"]:
            raise ValueError(f"{CONFIG} was changed")
        return AdapterInfo(metadata["run"], int(metadata["step"]), metadata["digest"], int(metadata["rank"]))
    except (OSError, ValueError, KeyError) as error:
        raise LogCorrupt(f"the adapter in {folder} is not as it was exported ({error}); export it again") from None


def _config(bank: Bank, run: RunInfo) -> dict[str, Any]:
    rank = bank.layout.adapter_rank
    return {
        "base_model_name_or_path": run.model.name,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "revision": run.model.revision,
        "target_modules": sorted({t.name.rsplit(".", 1)[-1] for t in bank.layout.tensors}),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }


def _tensors(bank: Bank, dtype: Dtype) -> Iterator[Tensor]:
    shift = np.float32(FLOAT16_SHIFT) if dtype == "float16" else np.float32(1)
    rank = bank.layout.adapter_rank
    for index, shape in enumerate(bank.layout.tensors):
        prefix = f"base_model.model.{shape.name}"
        yield Tensor(f"{prefix}.lora_A.weight", (rank, shape.in_features), partial(_factor_a, bank, index, shift))
        yield Tensor(f"{prefix}.lora_B.weight", (shape.out_features, rank), partial(_factor_b, bank, index, shift))


def _factor_a(bank: Bank, tensor: int, shift: np.float32) -> Floats:
    stacked = np.concatenate([bank.basis(tensor, k) for k in range(bank.layout.subspaces)])
    scaled: Floats = np.divide(stacked, shift, dtype=np.float32)
    return scaled


def _factor_b(bank: Bank, tensor: int, shift: np.float32) -> Floats:
    stacked = np.concatenate([bank.factor(tensor, k) for k in range(bank.layout.subspaces)], axis=1)
    scaled: Floats = np.multiply(stacked, shift, dtype=np.float32)
    return scaled


def _put_in_place(temporary: Path, out_dir: Path) -> None:
    """Rename the finished folder; an old one makes way first, for no rename goes over a folder with files."""
    descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if out_dir.exists():
        old = out_dir.with_name(f"{out_dir.name}.{uuid.uuid4().hex}.tmp")
        out_dir.rename(old)
        temporary.rename(out_dir)
        shutil.rmtree(old)
    else:
        temporary.rename(out_dir)
