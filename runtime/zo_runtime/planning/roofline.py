"""How long a step takes: of arithmetic and memory traffic the larger, part by part, and what neither explains."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from zo_runtime.planning.devices import Device
from zo_runtime.planning.facts import ModelFacts
from zo_runtime.planning.memory import Sizes, slot_bytes
from zo_runtime.planning.work import Operations, Work, operations
from zo_runtime.zo.layout import BankLayout

# All-reduces of a layer under tensor parallelism: after attention and after the MLP.
_REDUCES = 2


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of some work on one engine, by what they are for."""

    linear: float
    attention: float
    head: float
    adapters: float
    shards: float
    """The ranks of a tensor-parallel engine waiting for each other's sums."""
    overhead: float
    """Starting kernels, Python for each request, directions and slots."""

    @property
    def total(self) -> float:
        """All of them; nothing overlaps."""
        return float(sum(getattr(self, field.name) for field in fields(self)))


def counted(facts: ModelFacts, layout: BankLayout, sizes: Sizes, work: Work, device: Device) -> Operations:
    """Floating-point operations of the work. The CPU's LoRA products leave unused columns out."""
    rank = layout.adapter_rank + layout.rank if device.is_cpu else sizes.slot_rank
    return operations(facts, layout, rank, work)


def step_time(facts: ModelFacts, layout: BankLayout, sizes: Sizes, work: Work, device: Device) -> StepTime:
    """Seconds that an engine of `sizes.shards` devices takes for `work`."""
    done = counted(facts, layout, sizes, work, device)
    value, shards = facts.value_bytes, sizes.shards
    batches = max(1, math.ceil(work.tokens / sizes.batched_tokens), math.ceil(work.requests / device.sequences))
    ends = sum(t.in_features + t.out_features for t in facts.linear)
    adapted = sum(t.in_features + 2 * t.out_features for t in layout.tensors)
    head = facts.vocabulary * facts.hidden

    def part(flops: float, traffic: float, *, fp8: bool = False) -> float:
        peak = device.fp8_flops if fp8 and device.fp8_flops else device.bf16_flops
        arithmetic = flops / (peak * device.flops_share)
        return max(arithmetic, traffic / (device.bandwidth * device.bandwidth_share)) / shards

    weights = facts.linear_weights * facts.weight_bits / 8
    slots = sizes.slots * slot_bytes(layout, sizes.slot_rank, value)
    sums = _REDUCES * facts.layers * work.tokens * facts.hidden * value * 2 * (shards - 1) / shards
    return StepTime(
        linear=part(done.linear, batches * weights + work.tokens * ends * value, fp8=facts.fp8),
        attention=part(done.attention, 2 * work.tokens * facts.kv_bytes_a_token),
        head=part(done.head, batches * head * value + work.rows * facts.vocabulary * 4),
        adapters=part(done.adapters, batches * slots + work.tokens * adapted * value),
        shards=sums / device.link,
        overhead=batches * facts.layers * device.layer_seconds
        + work.requests * device.request_seconds
        + device.step_seconds,
    )
