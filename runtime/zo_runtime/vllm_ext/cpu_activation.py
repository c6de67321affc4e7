"""The gated activation on vLLM's CPU backend by the kernel that vLLM ships for it.

Its CPU library has `silu_and_mul`, but on x86 and Arm its layer runs two plain tensor operations with a large
intermediate between them: a twentieth of a small model's forward. Layers have a registry for classes from outside of
vLLM, by the name of the class that they stand in for.
"""

from __future__ import annotations

import torch
from vllm.model_executor.custom_op import op_registry_oot
from vllm.model_executor.layers.activation import SiluAndMul
from vllm.platforms import current_platform


class KernelSiluAndMul(SiluAndMul):  # type: ignore[misc]
    """silu(x[..., :d]) * x[..., d:] in one pass, computed in float32 and rounded once."""

    def forward_cpu(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., 2d], contiguous or not, to [..., d]."""
        out = torch.empty(*x.shape[:-1], x.shape[-1] // 2, dtype=x.dtype, device=x.device)
        torch.ops._C.silu_and_mul(out, x.contiguous())
        return out


# Another plugin of the same process may have put its own there first.
if current_platform.is_cpu() and SiluAndMul.__name__ not in op_registry_oot:
    SiluAndMul.register_oot(KernelSiluAndMul)
