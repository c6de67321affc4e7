"""int8 weights on vLLM's CPU backend under LoRA.

vLLM's kernel hands the weights over to oneDNN and leaves `weight = None` on the layer; its LoRA layers then ask that
for its device and fail ("'NoneType' object has no attribute 'device'"). The registry of kernels is open: this module
registers the same kernel, ahead of vLLM's, that leaves an empty tensor instead, as vLLM's for plain weights does.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.model_executor.kernels.linear import _POSSIBLE_INT8_KERNELS, register_linear_kernel
from vllm.model_executor.kernels.linear.scaled_mm.cpu import CPUInt8ScaledMMLinearKernel
from vllm.platforms import PlatformEnum


class CPUInt8Kernel(CPUInt8ScaledMMLinearKernel):  # type: ignore[misc]
    """vLLM's kernel, whose layers still have a weight with a device."""

    def process_weights_after_loading(self, layer: Any) -> None:
        """Prepare the weights, which may leave none on the layer."""
        super().process_weights_after_loading(layer)
        name = self.layer_param_names[0]
        if getattr(layer, name) is None:
            setattr(layer, name, torch.nn.Parameter(torch.empty(0, dtype=torch.int8), requires_grad=False))


register_linear_kernel(CPUInt8Kernel, PlatformEnum.CPU, "int8")
# `register_linear_kernel` appends, and the first kernel that fits is taken.
_POSSIBLE_INT8_KERNELS[PlatformEnum.CPU].sort(key=lambda kernel: kernel is not CPUInt8Kernel)
