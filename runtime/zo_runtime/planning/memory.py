"""What lies in the memory of one device. Pure; bytes."""

from __future__ import annotations

from dataclasses import dataclass, fields

from zo_runtime.planning.devices import Device
from zo_runtime.planning.facts import ModelFacts
from zo_runtime.planning.work import Work
from zo_runtime.scoring.sizing import cpu_kv_cache_bytes
from zo_runtime.zo.layout import BankLayout, TensorShape

# Layers that vLLM splits by their inputs under tensor parallelism; all others by their outputs.
_ROW_PARALLEL = ("o_proj", "out_proj", "down_proj", "fc2", "c_proj")
_BANK_BYTES = 4
# A row of logits in the model's type, in float32, and its log-softmax.
_LOGIT_BYTES = 10


@dataclass(frozen=True, slots=True)
class Memory:
    """By what it is for."""

    weights: float
    adapter_slots: float
    bank: float
    kv_cache: float
    """Keys and values of the tokens in flight: the least that runs. On a GPU vLLM's cache takes what is left too; on
    the CPU the runtime sets its size."""
    activations: float
    logits: float
    reserve: float

    @property
    def total(self) -> float:
        """All of it."""
        return float(sum(getattr(self, field.name) for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Sizes:
    """How the run fills a device. `slots` adapters of rank `slot_rank`; `batched_tokens` go through at once."""

    slots: int
    slot_rank: int
    momentum: bool
    batched_tokens: int
    max_length: int
    shards: int


def memory(facts: ModelFacts, layout: BankLayout, sizes: Sizes, work: Work, device: Device) -> Memory:
    """Memory of one device that does `work` a step as one of `sizes.shards` of an engine."""
    shards, value = sizes.shards, facts.value_bytes
    copies = 2 if sizes.momentum else 1
    in_flight = min(work.tokens, sizes.batched_tokens) + sizes.max_length
    outputs = sum(t.out_features for t in facts.linear) / facts.layers / shards + 2 * facts.hidden
    batch = min(work.tokens, sizes.batched_tokens) if device.is_cpu else sizes.batched_tokens
    rows = min(work.rows, sizes.batched_tokens) if device.is_cpu else max(device.sequences, work.rows)
    kv_cache = in_flight * facts.kv_bytes_a_token / min(shards, facts.kv_heads)
    return Memory(
        weights=facts.weight_bytes / shards,
        adapter_slots=sizes.slots * slot_bytes(layout, sizes.slot_rank, value, shards),
        bank=_BANK_BYTES * _numbers(layout, shards) * (copies * layout.subspaces + 1),
        kv_cache=cpu_kv_cache_bytes(sizes.max_length) if device.is_cpu else kv_cache,
        activations=batch * outputs * value,
        logits=min(rows, sizes.batched_tokens) * facts.vocabulary * _LOGIT_BYTES / shards,
        reserve=device.reserve,
    )


def _numbers(layout: BankLayout, shards: int) -> float:
    """Numbers of one subspace that a rank holds: its rows of B; all rows where the layer is split by its inputs."""
    rows = (t.out_features if _by_inputs(t) else t.out_features / shards for t in layout.tensors)
    return layout.rank * sum(rows)


def _by_inputs(tensor: TensorShape) -> bool:
    return tensor.name.rsplit(".", 1)[-1] in _ROW_PARALLEL


def slot_bytes(layout: BankLayout, rank: int, value_bytes: int, shards: int = 1) -> float:
    """One adapter slot: A and B of every adapted layer. Tensor parallelism splits one of the two."""
    size = 0.0
    for tensor in layout.tensors:
        split, whole = tensor.in_features, tensor.out_features
        if not _by_inputs(tensor):
            split, whole = whole, split
        size += rank * value_bytes * (split / shards + whole)
    return size
