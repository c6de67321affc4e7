"""LoRA on vLLM's CPU backend by runs of tokens.

The stock CPU path gathers a copy of the adapter's weights for every token, which makes a LoRA forward 3.5 to 4
times as slow as one without. Tokens of one request are neighbours, so a batch is a few runs of tokens that share
an adapter, and each run needs plain matrix products. A layer's slices (q, k, v; gate, up) are packed side by side,
so that one product serves them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from vllm.lora.layers.base_linear import BaseLinearLayerWithLoRA
from vllm.lora.model_manager import DEFAULT_LANGUAGE_WRAPPER_KEY
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

import zo_runtime.vllm_ext.cpu_int8  # noqa: F401 - registers its kernel in every process that hosts a worker
from zo_runtime.vllm_ext.native.fused_lora import Layer, fused_lora
from zo_runtime.vllm_ext.runs import Run, mirrored, runs_of


@dataclass(frozen=True, slots=True)
class Packed:
    """One layer's adapters. `a` is [slots, slices * rank, in]. `b` is [slots, slices * rank, out], the transpose of
    B, so that a rank column lies in one piece, and block-diagonal: each slice has rank columns of its own. The
    layer's stacked tensors are views of these two, and `layer` is how the native kernel reads them."""

    a: torch.Tensor
    b: torch.Tensor
    layer: Layer

    @classmethod
    def of(cls, module: Any, rank: int) -> Packed:
        """Move a LoRA layer's slots into packed storage, keeping the first `rank` rank columns."""
        stacks_a, stacks_b = module.lora_a_stacked, module.lora_b_stacked
        slots, _, _, in_features = stacks_a[0].shape
        out_sizes = [b.shape[2] for b in stacks_b]
        a = stacks_a[0].new_zeros(slots, len(stacks_a) * rank, in_features)
        b = stacks_b[0].new_zeros(slots, len(stacks_b) * rank, sum(out_sizes))
        views_a, views_b, row = [], [], 0
        for i, size in enumerate(out_sizes):
            columns = slice(i * rank, (i + 1) * rank)
            views_a.append(a[:, None, columns, :])
            views_b.append(b[:, None, columns, row : row + size].transpose(2, 3))
            views_a[i].copy_(stacks_a[i][:, :, :rank])
            views_b[i].copy_(stacks_b[i][..., :rank])
            row += size
        module.lora_a_stacked, module.lora_b_stacked = tuple(views_a), tuple(views_b)
        return cls(a, b, Layer.of(a, b, out_sizes))


class RunwiseLoRA(PunicaWrapperCPU):  # type: ignore[misc]
    """Drop-in for the CPU punica wrapper: same slots, same semantics, linear layers by runs.

    `rank` is the number of rank columns in use, at most the slots' own. With `probe`, a range of rank columns, the
    slots are the probes of one step: all have the same A, so that x A^T is computed once for the whole batch, and
    slot 2j + 1 is slot 2j with the probe's columns of B negated, so that both take one product with B.

    The native kernel does both products at once where there is one; torch's are the reference.
    """

    def __init__(
        self, *args: Any, modules: Iterable[Any], rank: int, probe: tuple[int, int] | None = None, **kwargs: Any
    ):
        super().__init__(*args, **kwargs)
        self._rank, self._probe = rank, probe
        self._runs: list[Run] = []
        self._minus: list[Run] = []
        self._packed: dict[int, Packed] = {}
        for module in modules:
            if isinstance(module, BaseLinearLayerWithLoRA):  # embeddings and logits keep vLLM's own products
                packed = Packed.of(module, rank)
                self._packed[id(module.lora_a_stacked)] = packed
            module.set_mapping(self)
        dtypes = {packed.a.dtype for packed in self._packed.values()}
        self._fused = fused_lora(dtypes.pop(), probe) if len(dtypes) == 1 else None

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        super().update_metadata(*args, **kwargs)
        slots, counts = torch.unique_consecutive(self.token_lora_indices, return_counts=True)
        runs = runs_of(slots.tolist(), counts.tolist())
        if self._probe is None:
            self._runs = runs
        else:
            self._runs, self._minus = mirrored(runs), [run for run in runs if run.slot % 2]
        if self._fused is not None:
            self._fused.set_runs(self._runs, self.token_lora_indices)

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **kwargs: Any,
    ) -> None:
        """y [T, out] += scale * x [T, in] A^T B^T for the adapter of each token."""
        if not self._runs:
            return
        packed = self._packed[id(lora_a_stacked)]
        if self._fused is not None and self._fused.add(packed.layer, x, y, scale):
            return
        shared = None if self._probe is None else self._project(x, packed, self._probe)
        for slot, start, end in self._runs:
            h = torch.mm(x[start:end], packed.a[slot].t()) if shared is None else shared[start:end]
            y[start:end].addmm_(h, packed.b[slot], alpha=scale)

    def _project(self, x: torch.Tensor, packed: Packed, probe: tuple[int, int]) -> torch.Tensor:
        """x A^T [T, slices * rank] of the whole batch, the probe's columns negated for tokens of odd slots."""
        h = torch.mm(x, packed.a[0].t())
        columns = h.view(len(h), -1, self._rank)[:, :, slice(*probe)]
        for run in self._minus:
            columns[run.start : run.end].neg_()
        return h


def use_runwise_lora(manager: Any, rank: int, probe: tuple[int, int] | None = None) -> Any:
    """Swap a CPU manager's wrapper for the run-wise one through the layers' own `set_mapping`. Return the wrapper in
    use: elsewhere than on CPU vLLM's own."""
    stock = manager.punica_wrapper_mapping.get(DEFAULT_LANGUAGE_WRAPPER_KEY)
    if manager.device.type != "cpu" or stock is None:
        return stock
    wrapper = RunwiseLoRA(
        manager.max_num_batched_tokens,
        manager.max_num_seqs,
        manager.device,
        modules=manager.modules.values(),
        rank=rank,
        probe=probe,
    )
    manager.punica_wrapper_mapping[DEFAULT_LANGUAGE_WRAPPER_KEY] = wrapper
    return wrapper


class RunwiseServing:
    """Worker extension for a server on CPUs: `--worker-extension-cls zo_runtime.vllm_ext.cpu_lora.RunwiseServing`."""

    def zo_use_runwise_lora(self) -> None:
        """Serve every adapter, of whatever origin, by the run-wise products."""
        manager = self.model_runner.lora_manager._adapter_manager  # type: ignore[attr-defined]
        use_runwise_lora(manager, manager.lora_config.max_lora_rank)
