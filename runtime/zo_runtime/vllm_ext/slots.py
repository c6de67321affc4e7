"""Writes the bank and the probes into vLLM's LoRA slots, in place.

An adapter slot has the columns [bank: K*r | probe: r]. The plus and the minus slot of a direction differ only in
the sign of the probe columns B = +-eps*U, which stay apart from the bank's, where bf16 would round them away. The
rows of A are [A_0 .. A_{K-1} | A_k of the active subspace]. Slices for tensor parallelism are vLLM's own
(`slice_lora_a`, `slice_lora_b`), so a shard holds what loading the whole adapter would put there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from vllm.lora.utils import parse_fine_tuned_lora_name

from zo_runtime.errors import UnsupportedModel
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.pieces import Piece, total


@dataclass(frozen=True, slots=True)
class Target:
    """One adapted layer inside vLLM: a LoRA module, and which of its packed slices (q, k, v; gate, up)."""

    module: Any
    index: int

    def write_a(self, slots: slice, row: int, a: torch.Tensor) -> None:
        """Write A (r x in) into the rank rows from `row` of the slots."""
        part = self._shard(a, self.module.slice_lora_a)
        stacked = self.module.lora_a_stacked[self.index]
        stacked[slots, 0, row : row + part.shape[0], : part.shape[1]] = part

    def rows_of_b(self, out_features: int) -> list[tuple[int, int]]:
        """The runs of rows of B, from one row up to another, that this rank holds in turn: one, or one for each part
        of a layer that is fused in the checkpoint, such as `qkv_proj`."""
        numbers = self._shard(torch.arange(out_features).view(-1, 1), self.module.slice_lora_b).view(-1).tolist()
        starts = [i for i, row in enumerate(numbers) if i == 0 or row != numbers[i - 1] + 1]
        ends = [*starts[1:], len(numbers)]
        return [(numbers[start], numbers[end - 1] + 1) for start, end in zip(starts, ends, strict=True)]

    def columns_of_b(self, slot: int, column: int, rank: int) -> torch.Tensor:
        """The slot's rank columns from `column` on, all rows, as a view of vLLM's own memory."""
        columns: torch.Tensor = self.module.lora_b_stacked[self.index][slot, 0, :, column : column + rank]
        return columns

    def _shard(self, matrix: torch.Tensor, slicer: Any) -> torch.Tensor:
        if self.module.tp_size == 1:
            return matrix
        if self.module.n_slices == 1:
            return slicer(matrix)
        parts: list[torch.Tensor | None] = [None] * self.module.n_slices
        parts[self.index] = matrix
        return slicer(parts)[self.index]


class ColumnWriter:
    """Writes one flat B of a subspace, the rows that this rank holds of all layers one after another, into rank
    columns of slots.

    A step writes hundreds of small matrices three times over, so the views on both ends are made once and the
    copies go out in one call.
    """

    def __init__(
        self, targets: Sequence[Target], pieces: Sequence[Piece], rank: int, dtype: torch.dtype, device: torch.device
    ):
        self._staging = torch.zeros(total(pieces), dtype=dtype, device=device)
        self._parts = [part.view(-1, rank) for part in self._staging.split([piece.size for piece in pieces])]
        self._targets, self._rank = targets, rank
        self._rows = [[p.size // rank for p in pieces if p.tensor == i] for i in range(len(targets))]
        self._columns: dict[tuple[int, int], list[torch.Tensor]] = {}

    def write(self, slots: Iterable[int], column: int, flat: torch.Tensor, scale: float = 1.0) -> None:
        """Write scale * flat (float32) into the columns from `column` of each slot, rounded to the slots' type."""
        self._staging.copy_(flat * scale if scale != 1.0 else flat)
        for slot in slots:
            torch._foreach_copy_(self._views(slot, column), self._parts)

    def _views(self, slot: int, column: int) -> list[torch.Tensor]:
        if (slot, column) not in self._columns:
            views = self._columns[slot, column] = []
            for target, rows in zip(self._targets, self._rows, strict=True):
                columns = target.columns_of_b(slot, column, self._rank)
                views.extend(columns[: sum(rows)].split(rows))
        return self._columns[slot, column]


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
