"""LoRA on vLLM's CPU backend by runs of tokens.

The stock CPU path gathers a copy of the adapter's weights for every token, which makes a LoRA forward 3.5 to 4
times as slow as one without. Tokens of one request are neighbours, so a batch is a few runs of tokens that share
an adapter, and each run needs two plain matrix products.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU


class RunwiseLoRA(PunicaWrapperCPU):  # type: ignore[misc]
    """Drop-in for the CPU punica wrapper: same slots, same semantics, linear layers by runs.

    `rank` is the number of rank columns in use, at most the slots' own. With `shared_a` every slot has the same
    A matrices, as all probes of one step do, so that x A^T is computed once for the whole batch.
    """

    def __init__(self, *args: Any, rank: int, shared_a: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.rank = rank
        self.shared_a = shared_a
        self.runs: list[tuple[int, int, int]] = []  # slot, first token, one past the last token

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        super().update_metadata(*args, **kwargs)
        slots, counts = torch.unique_consecutive(self.token_lora_indices, return_counts=True)
        self.runs, start = [], 0
        for slot, count in zip(slots.tolist(), counts.tolist(), strict=True):
            if slot >= 0:  # -1 marks tokens without an adapter
                self.runs.append((slot, start, start + count))
            start += count

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
        """y [T, sum of slices] += scale * x [T, in] A^T B^T, slice by slice. A is [slots, 1, rank, in], B is
        [slots, 1, out, rank]."""
        offset = 0
        for a, b, size in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
            shared = x @ a[self.runs[0][0], 0, : self.rank].t() if self.shared_a and self.runs else None
            for slot, start, end in self.runs:
                h = x[start:end] @ a[slot, 0, : self.rank].t() if shared is None else shared[start:end]
                y[start:end, offset : offset + size].addmm_(h, b[slot, 0, :, : self.rank].t(), alpha=scale)
            offset += size
