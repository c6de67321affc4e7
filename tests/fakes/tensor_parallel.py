"""A model in one type at tensor parallel size 1 and 2. Run as a script: engines need a process of their own.

    python -m fakes.tensor_parallel MODEL DTYPE

Prints one line of JSON: how the slots of the ranks compare with the shards of the slots at size 1, and for each size
the gradients and losses of a run of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fakes.agreement import examples
from zo_runtime.config.model import Model
from zo_runtime.config.optimizer import DEFAULT_TARGETS
from zo_runtime.data.examples import Example
from zo_runtime.scoring.plan import evaluation
from zo_runtime.scoring.shapes import adapted_shapes
from zo_runtime.scoring.vllm import EngineOptions, VllmScorer
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.estimator import coefficients, projected_gradient
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method, Update

SIZE = 2
STEPS = 50
RATE = 1e-4
WORDS = (" terrible", " great")
# Split by their inputs; all others by their outputs.
ROW_PARALLEL = ("o_proj", "out_proj", "down_proj", "fc2")


def read_slots(worker: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """In a worker: A [slots, rank, in] and B [slots, out, rank] of each adapted layer, their bits as integers."""
    zo, found = worker._zo, []
    bits = torch.int16 if zo.dtype.itemsize == 2 else torch.int32
    rank = zo.layout.adapter_rank + zo.layout.rank
    for target in zo.targets:
        a, b = (stacked[target.index] for stacked in (target.module.lora_a_stacked, target.module.lora_b_stacked))
        whole = a[:, 0, :rank].contiguous(), b[:, 0, :, :rank].contiguous()
        found.append(tuple(part.view(bits).numpy().copy() for part in whole))
    return found


def shard(
    name: str, a: np.ndarray, b: np.ndarray, rank: int, heads_of: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """What a rank of `SIZE` has to hold of a layer's A and B, by the layer's place in the model."""
    part = name.rsplit(".", 1)[-1]
    if part in ROW_PARALLEL:
        return np.split(a, SIZE, axis=2)[rank], b
    heads = heads_of.get(part, SIZE)
    if heads < SIZE:  # fewer heads than ranks: neighbours hold the same one
        return a, np.split(b, heads, axis=1)[rank * heads // SIZE]
    return a, np.split(b, SIZE, axis=1)[rank]


def mismatches(layout: BankLayout, whole: list[Any], ranks: list[list[Any]], kv_heads: int) -> list[str]:
    """Layers of ranks that hold anything else than their shard, by name."""
    heads, found = {"k_proj": kv_heads, "v_proj": kv_heads}, []
    for rank, held in enumerate(ranks):
        for tensor, (a, b), (own_a, own_b) in zip(layout.tensors, whole, held, strict=True):
            wanted = shard(tensor.name, a, b, rank, heads)
            if not (np.array_equal(wanted[0], own_a) and np.array_equal(wanted[1], own_b)):
                found.append(f"rank {rank}: {tensor.name}")
    return found


def run(scorer: VllmScorer, batch: list[Example], layout: BankLayout, method: Method) -> dict[str, Any]:
    """Some steps on one batch: the gradients, the losses before and after, and the bank's digest on both sides."""
    bank, before = Bank(layout, method), evaluation(scorer.judge(batch)).loss
    gradients = []
    for step in range(1, STEPS + 1):
        losses = scorer.score(batch, step)
        gradients.append(projected_gradient(losses.plus[0], losses.minus[0], method.epsilon))
        update = Update(step, RATE, coefficients(gradients[-1:], RATE, None))
        scorer.apply([update])
        bank.apply([update])
    after = evaluation(scorer.judge(batch)).loss
    return {"gradients": gradients, "losses": [before, after], "digests": [bank.digest(), scorer.digest()]}


def compare(folder: Path, dtype: str) -> dict[str, Any]:
    """Both sizes in one type, one engine after the other."""
    model = Model(name=str(folder), max_length=128, dtype=dtype)  # type: ignore[arg-type]
    layout = BankLayout(adapted_shapes(model, DEFAULT_TARGETS), rank=2, subspaces=2)
    # Four examples average little of bf16's rounding out; a wider difference lifts the gradients above it.
    method = Method(seed=3, interval=10, directions=1, epsilon=2.0**-7)
    runs, slots = {}, {}
    for size in (1, SIZE):
        scorer = VllmScorer(model, layout, method, EngineOptions(size, kv_cache_bytes=2**27))
        batch = examples(scorer.tokenizer, WORDS)
        scorer.apply([Update(step, 0.0, (0.01 * step,)) for step in range(1, 12)])  # both subspaces
        scorer.score(batch[:1], 12)
        slots[size] = scorer._llm.collective_rpc(read_slots)
        scorer.reset()
        runs[size] = run(scorer, batch, layout, method)
        scorer.close()
    config = json.loads((folder / "config.json").read_text())
    kv_heads = config.get("num_key_value_heads", config["num_attention_heads"])
    held = [int(np.count_nonzero(b)) for _, b in slots[1][0]]
    return {"wrong": mismatches(layout, slots[1][0], slots[SIZE], kv_heads), "held": held, "runs": runs}


def main() -> None:
    folder, dtype = sys.argv[1:]
    print(json.dumps(compare(Path(folder), dtype)))


if __name__ == "__main__":  # a spawned rank imports this file too
    main()
