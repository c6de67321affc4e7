"""How much memory and how large a batch the engine gets."""

from __future__ import annotations

import os

from zo_runtime.config.document import RunSpec
from zo_runtime.errors import InvalidSpec
from zo_runtime.scoring.vllm import EngineOptions

# Set by the operator in pods; it comes before what a manifest says.
TENSOR_PARALLEL_SIZE = "ZO_TENSOR_PARALLEL_SIZE"
# On the CPU vLLM would take most of the machine's memory for its KV cache. Scoring keeps no context between
# steps: one batch in flight is all there is.
CPU_KV_CACHE_BYTES = 2**30


def engine_options(spec: RunSpec, shards: int = 1) -> EngineOptions:
    """Options for the machine at hand; `shards` is the manifest's `spec.runtime.tensorParallelSize`.

    Raise `InvalidSpec` for more shards than the machine has GPUs, or cores where it has no GPU.
    """
    import torch  # noqa: PLC0415 - only where an engine is about to start

    on_gpu = torch.cuda.is_available()
    shards = int(os.environ.get(TENSOR_PARALLEL_SIZE, str(shards)))
    there = torch.cuda.device_count() if on_gpu else len(os.sched_getaffinity(0))
    if shards > there:
        raise InvalidSpec(
            f"spec.runtime.tensorParallelSize: {shards} is more than this machine has "
            f"{'GPUs' if on_gpu else 'cores'} ({there}): lower it, or set {TENSOR_PARALLEL_SIZE}=1 for this machine"
        )
    return EngineOptions(
        tensor_parallel_size=shards,
        kv_cache_bytes=None if on_gpu else cpu_kv_cache_bytes(spec.model.max_length),
    )


def cpu_kv_cache_bytes(max_length: int) -> int:
    """Room for one batch, and for one sequence of `max_length` tokens at least."""
    return max(CPU_KV_CACHE_BYTES, max_length * 2**18)
