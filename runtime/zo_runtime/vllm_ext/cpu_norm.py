"""Normalization on vLLM's CPU backend by the kernels that vLLM ships for it.

Its CPU library has `rms_norm` and `fused_add_rms_norm`, but the registry of op implementations offers them to GPUs
only, so that the CPU runs seven plain tensor operations instead: a twentieth of a small model's forward. The registry
is open: this module registers the kernels under a provider name of ours.
"""

from __future__ import annotations

import torch
from vllm import ir
from vllm.platforms import current_platform

PROVIDER = "zo_cpu"
PRIORITY = {"rms_norm": [PROVIDER], "fused_add_rms_norm": [PROVIDER]}


def _fits(x: torch.Tensor, weight: torch.Tensor | None, variance_size: int | None) -> bool:
    """The kernels normalize whole contiguous rows, with a weight of the same type."""
    return variance_size is None and x.is_contiguous() and (weight is None or weight.dtype == x.dtype)


def _fits_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> bool:
    return _fits(x, weight, variance_size)


def _fits_fused(
    x: torch.Tensor,
    x_residual: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> bool:
    return _fits(x, weight, variance_size) and x_residual.is_contiguous()


@ir.ops.rms_norm.register_impl(  # type: ignore[untyped-decorator]
    PROVIDER, supports_args=_fits_norm, supported=current_platform.is_cpu()
)
def rms_norm(
    x: torch.Tensor, weight: torch.Tensor | None, epsilon: float, variance_size: int | None = None
) -> torch.Tensor:
    """x [..., hidden] / rms(x) * weight."""
    out = torch.empty_like(x)
    torch.ops._C.rms_norm(out, x, weight, epsilon)
    return out


@ir.ops.fused_add_rms_norm.register_impl(  # type: ignore[untyped-decorator]
    PROVIDER, supports_args=_fits_fused, supported=current_platform.is_cpu(), inplace=True
)
def fused_add_rms_norm(
    x: torch.Tensor,
    x_residual: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of both, and its normalization, in place."""
    torch.ops._C.fused_add_rms_norm(x, x_residual, weight, epsilon)
    return x, x_residual
