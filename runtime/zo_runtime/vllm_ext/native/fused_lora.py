"""Both products of a LoRA layer in one native kernel, for bfloat16 on CPUs that multiply it (AVX512-BF16)."""

from __future__ import annotations

import ctypes
import logging
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.profiler import record_function

from zo_runtime.vllm_ext.native.compiled import cpu_flags, load
from zo_runtime.vllm_ext.runs import Run

log = logging.getLogger("vllm.zofinetune")

SOURCE = Path(__file__).with_name("fused_lora.cpp")
LABEL = "zo: lora"
_INT = ctypes.c_int64


class Layer(ctypes.Structure):
    """One layer's adapters, as the kernel reads them. Its tensors must outlive it."""

    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("a", "b")),
        *((name, _INT) for name in ("a_stride", "b_stride", "inputs", "rank", "slices")),
        ("out", ctypes.POINTER(_INT)),
    ]

    @classmethod
    def of(cls, a: torch.Tensor, b: torch.Tensor, out_sizes: Sequence[int]) -> Layer:
        """From contiguous a [slots, slices * rank, in] and b [slots, slices * rank, out]."""
        slices = len(out_sizes)
        sizes = (_INT * slices)(*out_sizes)  # the structure keeps it alive
        rank = a.shape[1] // slices
        return cls(a.data_ptr(), b.data_ptr(), a.stride(0), b.stride(0), a.shape[2], rank, slices, sizes)


class Batch(ctypes.Structure):
    """The runs of tokens of one forward pass."""

    _fields_: ClassVar = [
        ("runs", ctypes.c_void_p),
        *((name, _INT) for name in ("count", "threads", "one_a")),
        ("sign", ctypes.c_void_p),
        *((name, _INT) for name in ("negate", "negate_end")),
    ]


class FusedLoRA:
    """The kernel with the runs of the present batch. With `probe`, all slots have the A of slot 0, and the probe's
    rank columns are negated for tokens of odd slots."""

    def __init__(self, function: Any, probe: tuple[int, int] | None):
        self._function, self._probe = function, probe
        self._tokens = 0

    def set_runs(self, runs: Sequence[Run], slots: torch.Tensor) -> None:
        """Of the batch whose tokens have the slots `slots`; `runs` are those of their B."""
        table = torch.tensor(runs, dtype=torch.int64)
        odd = (slots % 2).to(torch.int16) << 15
        first, end = self._probe or (0, 0)
        self._tokens = runs[-1].end if runs else 0
        self._keep = table, odd
        self._batch = Batch(
            table.data_ptr(),
            len(runs),
            torch.get_num_threads(),
            self._probe is not None,
            odd.data_ptr(),
            first,
            end,
        )

    def add(self, layer: Layer, x: torch.Tensor, y: torch.Tensor, scale: float) -> bool:
        """y += scale * x A^T B^T, unless the tensors are not what the kernel takes: then False, and y as it was."""
        if x.dtype != torch.bfloat16 or y.dtype != torch.bfloat16 or y.stride(1) != 1:
            return False
        if len(x) < self._tokens or len(y) < self._tokens:
            return False
        if x.stride(1) != 1:
            x = x.contiguous()
        if not self._tokens:
            return True
        # The profiler sees no operation of torch's here; a label costs too much when nobody looks.
        with record_function(LABEL) if torch.autograd._profiler_enabled() else nullcontext():
            self._function(layer, self._batch, x.data_ptr(), x.stride(0), y.data_ptr(), y.stride(0), scale)
        return True


@cache
def _function() -> Any | None:
    """The kernel, compiled if need be; None where there is none, which is said once."""
    if not {"avx512_bf16", "avx512bw", "avx512dq"} <= set(cpu_flags().split()):
        return None
    try:
        function = load(SOURCE).add_lora
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("no native LoRA kernel, torch's products serve instead: %s", error)
        return None
    pointer = ctypes.c_void_p
    layer, batch = ctypes.POINTER(Layer), ctypes.POINTER(Batch)
    function.argtypes = [layer, batch, pointer, _INT, pointer, _INT, ctypes.c_float]
    function.restype = None
    return function


def fused_lora(dtype: torch.dtype, probe: tuple[int, int] | None) -> FusedLoRA | None:
    """The kernel for slots of a type, or None where torch's products serve."""
    function = _function() if dtype == torch.bfloat16 else None
    return None if function is None else FusedLoRA(function, probe)
