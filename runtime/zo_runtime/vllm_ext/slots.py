"""Writes the bank and the probes into vLLM's LoRA slots, in place.

An adapter slot has the columns [bank: K*r | probe: r]. The plus and the minus slot of a direction differ only in
the sign of the probe columns B = +-eps*U, which stay apart from the bank's, where bf16 would round them away. The
rows of A are [A_0 .. A_{K-1} | A_k of the active subspace]. Slices for tensor parallelism are vLLM's own
(`slice_lora_a`, `slice_lora_b`), so a shard holds what loading the whole adapter would put there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from vllm.lora.utils import parse_fine_tuned_lora_name

from zo_runtime.errors import UnsupportedModel
from zo_runtime.zo.layout import BankLayout


@dataclass(frozen=True, slots=True)
class Target:
    """One adapted layer inside vLLM: a LoRA module, and which of its packed slices (q, k, v; gate, up)."""

    module: Any
    index: int

    def write_a(self, slots: slice, column: int, a: torch.Tensor) -> None:
        """Write A (r x in) into the rank rows from `column` of the slots."""
        part = self._slice(a, self.module.slice_lora_a)
        stacked = self.module.lora_a_stacked[self.index]
        stacked[slots, 0, column : column + part.shape[0], : part.shape[1]] = part

    def write_b(self, slots: slice, column: int, b: torch.Tensor) -> None:
        """Write B (out x r) into the rank columns from `column` of the slots."""
        part = self._slice(b, self.module.slice_lora_b)
        stacked = self.module.lora_b_stacked[self.index]
        stacked[slots, 0, : part.shape[0], column : column + part.shape[1]] = part

    def _slice(self, matrix: torch.Tensor, slicer: Any) -> torch.Tensor:
        if self.module.tp_size == 1:
            return matrix
        if self.module.n_slices == 1:
            return slicer(matrix)
        parts: list[torch.Tensor | None] = [None] * self.module.n_slices
        parts[self.index] = matrix
        return slicer(parts)[self.index]


def find_targets(manager: Any, layout: BankLayout) -> list[Target]:
    """Match the bank's layers, named as in the checkpoint, with the modules of vLLM's LoRA manager."""
    packed = {
        name: (module, index) for module, names in manager.packed_modules.items() for index, name in enumerate(names)
    }
    mapper = getattr(manager.model, "hf_to_vllm_mapper", None)
    rename = mapper.get_rename_mapper() if mapper is not None else None
    targets = []
    for tensor in layout.tensors:
        name, _ = parse_fine_tuned_lora_name(f"base_model.model.{tensor.name}.lora_A.weight", rename)
        module_name, index = packed.get(name, (name, 0))
        module = manager.modules.get(module_name)
        if module is None or (name not in packed and module.n_slices != 1):
            raise UnsupportedModel(
                f"spec.optimizer.targetModules: vLLM has no LoRA layer for {tensor.name}: "
                f"leave {tensor.name.rsplit('.', 1)[-1]} out"
            )
        targets.append(Target(module, index))
    return targets
