"""What the kinds of hardware can do. Memory in bytes, rates a second, times in seconds.

Peaks are dense (no structured sparsity), from NVIDIA's data sheets: A100 (2021), H100 SXM5 (2023), H200 (2024), DGX
B200 (2024; an eighth of the machine), L40S (2023), L4 (2023). Sheets that print numbers "with sparsity" were halved.
`link` is one direction of NVLink, or of PCIe 4.0 x16 where there is none. `memory` is what CUDA reports as the total,
which is a little less than what is sold.

What a forward reaches of the peaks, and what it costs beside arithmetic, is measured for `cpu` and assumed for GPUs:
large bf16 products reach 78 to 87 % of these peaks in public measurements (stas00/ml-engineering, "maximum achievable
matmul FLOPS"), and a layer with LoRA is some fifteen kernels that take four microseconds each to start.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from zo_runtime.errors import InvalidSpec

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU, or the processors of one machine. `fp8_flops` is None where there is no such arithmetic."""

    name: str
    memory: float
    bf16_flops: float
    fp8_flops: float | None
    bandwidth: float
    link: float
    flops_share: float = 0.8
    """Of the peak, that matrix products reach."""
    bandwidth_share: float = 0.8
    memory_share: float = 0.92
    """Of the memory, that vLLM takes (`gpu_memory_utilization`)."""
    sequences: int = 256
    """Requests that one engine batch takes at most (vLLM's default for the device)."""
    reserve: float = 2.0 * GIB
    """For what is in no formula: the CUDA context, captured graphs, workspaces."""
    layer_seconds: float = 60e-6
    """A layer of one engine batch, beside arithmetic and traffic: starting kernels."""
    request_seconds: float = 150e-6
    """A request: vLLM's Python."""
    step_seconds: float = 3e-3
    """A step: directions, slots, update, log."""

    @property
    def is_cpu(self) -> bool:
        """Whether it is the machine's own processors."""
        return self.name == "cpu"


_GPUS = (
    Device("H100", 79.1 * GIB, 989e12, 1979e12, 3.35e12, 450e9, sequences=1024),
    Device("H200", 139.8 * GIB, 989e12, 1979e12, 4.8e12, 450e9, sequences=1024),
    Device("B200", 178.3 * GIB, 2250e12, 4500e12, 8.0e12, 900e9, sequences=1024),
    Device("A100-80GB", 79.1 * GIB, 312e12, None, 2.039e12, 300e9),
    Device("A100-40GB", 39.4 * GIB, 312e12, None, 1.555e12, 300e9),
    Device("L40S", 44.4 * GIB, 362e12, 733e12, 0.864e12, 32e9),
    Device("L4", 22.0 * GIB, 121e12, 242e12, 0.300e12, 32e9),
)

# Per core of an AMD EPYC with AVX-512 bf16, two cores in use: a forward's matrix products measured 400e9 FLOP/s.
_CORE_FLOPS, _CORE_BANDWIDTH = 200e9, 10e9


def cpu(cores: int | None = None, memory: float | None = None) -> Device:
    """This machine's processors, if each core is like one of those that were measured."""
    found = len(os.sched_getaffinity(0)) if cores is None else cores
    total = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) if memory is None else memory
    return Device(
        "cpu",
        memory=total,
        bf16_flops=found * _CORE_FLOPS,
        fp8_flops=None,
        bandwidth=found * _CORE_BANDWIDTH,
        link=found * _CORE_BANDWIDTH,
        flops_share=1.0,  # the rate above is what was reached, not a peak
        bandwidth_share=1.0,
        memory_share=1.0,
        reserve=1.0 * GIB,
        layer_seconds=1.2e-3,
        request_seconds=1.5e-3,
        step_seconds=7e-3,
    )


def names() -> list[str]:
    """Every name that `device` knows."""
    return [gpu.name for gpu in _GPUS] + ["cpu"]


def gpus() -> list[Device]:
    """Every GPU type of the table."""
    return list(_GPUS)


def device(name: str) -> Device:
    """Look a type up, whatever its case. Raise `InvalidSpec` with the names there are."""
    for gpu in _GPUS:
        if gpu.name.lower() == name.lower():
            return gpu
    if name.lower() == "cpu":
        return cpu()
    raise InvalidSpec(f"--gpu {name}: unknown; the types are {', '.join(names())}")
