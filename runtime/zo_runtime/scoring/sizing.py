"""How much memory and how large a batch the engine gets."""

from __future__ import annotations

import os

from zo_runtime.config.document import RunSpec
from zo_runtime.scoring.vllm import EngineOptions

# Set by the operator in pods; one rank where nobody says otherwise.
TENSOR_PARALLEL_SIZE = "ZO_TENSOR_PARALLEL_SIZE"
# On the CPU vLLM would take most of the machine's memory for its KV cache. Scoring keeps no context between
# steps: one batch in flight is all there is.
CPU_KV_CACHE_BYTES = 2**30


def engine_options(spec: RunSpec) -> EngineOptions:
    """Options for the machine at hand."""
    import torch  # noqa: PLC0415 - only where an engine is about to start

    on_gpu = torch.cuda.is_available()
    return EngineOptions(
        tensor_parallel_size=int(os.environ.get(TENSOR_PARALLEL_SIZE, "1")),
        kv_cache_bytes=None if on_gpu else cpu_kv_cache_bytes(spec.model.max_length),
    )


def cpu_kv_cache_bytes(max_length: int) -> int:
    """Room for one batch, and for one sequence of `max_length` tokens at least."""
    return max(CPU_KV_CACHE_BYTES, max_length * 2**18)
