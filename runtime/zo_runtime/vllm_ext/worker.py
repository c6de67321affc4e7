"""The worker extension: vLLM mixes it into its worker (`worker_extension_cls`), the scorer calls it by name.

Only step numbers and scalars come in, only scalars and strings go out; and a rank's part of the bank, when all parts
are to be compared. Each rank of a tensor-parallel group draws and holds the rows that vLLM's own slicing gives it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.profiler import record_function

import zo_runtime.vllm_ext.cpu_norm  # noqa: F401 - registers its kernels in every process that hosts a worker
from zo_runtime.profiling.parts import PROBE, UPDATE
from zo_runtime.vllm_ext.compat import shield_llvmlite
from zo_runtime.vllm_ext.cpu_lora import use_runwise_lora
from zo_runtime.vllm_ext.cpu_memory import keep_freed_memory
from zo_runtime.vllm_ext.direct import DirectReader, Prompt, can_read_directly
from zo_runtime.vllm_ext.replica import Replica, make_replica
from zo_runtime.vllm_ext.slot_request import slot_request
from zo_runtime.vllm_ext.slots import ColumnWriter, Target, find_targets
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.layout import FLOAT16_SHIFT, BankLayout, TensorShape, subspace_of
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.pieces import rows_of_factors

# A spawned worker (tensor parallelism) imports this module just before it starts.
shield_llvmlite()


class ZOWorkerExtension:
    """Methods that `collective_rpc` reaches. `self` is vLLM's worker."""

    _zo: _Slots
    _direct: DirectReader | None

    def zo_setup(self, layout: dict[str, Any], method: dict[str, Any], slots: int) -> dict[str, Any]:
        """Register `slots` empty adapters, write the fixed A matrices, and say what was set up."""
        runner = self.model_runner  # type: ignore[attr-defined]
        if runner.device.type == "cpu":
            keep_freed_memory()  # now that the weights are loaded, which needs much memory once
        manager = runner.lora_manager
        shapes = tuple(TensorShape(*t) for t in layout["tensors"])
        bank_layout = BankLayout(shapes, layout["rank"], layout["subspaces"])
        for index in range(slots):
            manager.add_dummy_lora(slot_request(index), rank=1)
            manager._adapter_manager.activate_adapter(slot_request(index).lora_int_id)
        self._zo = _Slots(manager._adapter_manager, bank_layout, Method(**method), slots)
        self._direct = DirectReader(runner) if can_read_directly(runner) else None
        return {
            "lora": type(self._zo.wrapper).__name__,
            "layers": len(self._zo.targets),
            "direct": self._direct is not None,
        }

    def zo_apply(self, updates: list[tuple[int, float, list[float], int | None]]) -> None:
        """Apply updates (step, learning rate, coefficients, step before) to this worker's bank and its slots."""
        with record_function(UPDATE):
            self._zo.apply(
                [Update(step, rate, tuple(coefficients), after) for step, rate, coefficients, after in updates]
            )

    def zo_probe(self, step: int) -> None:
        """Put +eps*U_j into slot 2j and -eps*U_j into slot 2j+1, for every direction j of the step."""
        with record_function(PROBE):
            self._zo.probe(step)

    def zo_clear(self) -> None:
        """Take the probes out: every slot is the bank itself."""
        self._zo.clear()

    def zo_logits(self, prompts: list[Prompt]) -> list[list[float]] | None:
        """Logits of chosen tokens after each prompt, read directly; None where another rank has them."""
        if self._direct is None:
            raise RuntimeError("this worker's model runner cannot be read directly")
        return self._direct.logits(prompts)

    def zo_digest(self) -> str:
        """Digest of this worker's bank, where it is the only rank."""
        return self._zo.replica.digest()

    def zo_shard(self) -> Bank:
        """This rank's part of the bank."""
        return self._zo.replica.shard()


class _Slots:
    """The state that the extension keeps in its worker."""

    def __init__(self, manager: Any, layout: BankLayout, method: Method, slots: int):
        self.layout, self.method = layout, method
        self.targets: list[Target] = find_targets(manager, layout)
        # Fresh slots are given out in order, so that one write reaches them all.
        if manager.lora_index_to_id[:slots] != [slot_request(i).lora_int_id for i in range(slots)]:
            raise RuntimeError(f"vLLM gave the probes the slots {manager.lora_index_to_id}")
        self.slots = range(slots)
        rows = [target.rows_of_b(t.out_features) for target, t in zip(self.targets, layout.tensors, strict=True)]
        pieces = rows_of_factors(layout, rows)
        self.replica: Replica = make_replica(layout, method, pieces, manager.device)
        self.dtype = manager.lora_config.lora_dtype
        self.shift = FLOAT16_SHIFT if self.dtype == torch.float16 else 1.0
        probe = (layout.adapter_rank, layout.adapter_rank + layout.rank)
        self.wrapper = use_runwise_lora(manager, probe[1], probe)
        self._writer = ColumnWriter(self.targets, pieces, layout.rank, self.dtype, manager.device)
        self._probe_column = layout.adapter_rank
        self._probed_subspace: int | None = None
        self._clean = False
        for module in {id(t.module): t.module for t in self.targets}.values():
            for slot in range(slots):
                module.reset_lora(slot)
        for k in range(layout.subspaces):
            self._write_basis(k, k * layout.rank)

    def apply(self, updates: list[Update]) -> None:
        """Update the bank, then rewrite the columns of the subspaces that changed."""
        self.replica.apply(updates)
        layout = self.layout
        for k in {subspace_of(u.step, self.method.interval, layout.subspaces) for u in updates}:
            self._writer.write(self.slots, k * layout.rank, self.replica.subspace(k), self.shift)

    def probe(self, step: int) -> None:
        k = subspace_of(step, self.method.interval, self.layout.subspaces)
        if k != self._probed_subspace:
            self._write_basis(k, self._probe_column)
            self._probed_subspace = k
        for j in range(self.method.directions):
            u = self.replica.direction(step, j)
            for slot, epsilon in ((2 * j, self.method.epsilon), (2 * j + 1, -self.method.epsilon)):
                self._writer.write((slot,), self._probe_column, u, epsilon * self.shift)
        self._clean = False

    def clear(self) -> None:
        if not self._clean:
            self._writer.write(self.slots, self._probe_column, torch.zeros_like(self.replica.subspace(0)))
            self._clean = True

    def _write_basis(self, k: int, column: int) -> None:
        for i, target in enumerate(self.targets):
            target.write_a(slice(0, len(self.slots)), column, self.replica.basis(i, k) / self.shift)
