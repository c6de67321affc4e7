"""One step of OPT on an NVIDIA GPU: the LOZO loop, ours, and what the device could do.

    python -m bench.gpu_step [--sizes 1.3b 6.7b 13b] [--batches 16 32 64 128] [--rounds N] [--out DIR]
    python -m bench.gpu_step --dry-run

Weights are random (their values change no time), prompts are random tokens of lengths like SST-2's. For each size the
loops run one after another, each in a process of its own that has the whole GPU. The share of the roofline is the
step's floating-point operations, counted as `zo plan` counts them, over the step's time and over the rate of a large
bf16 product that was timed in the same run. Beside ours stands what `zo plan` says where it knows the GPU.
`--dry-run` takes a tiny OPT through the same code on the CPU; its figures mean nothing. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.command import keep
from bench.loop_process import LoopProcess
from bench.machine import machine
from bench.report import bar_chart, summarize
from zo_runtime.config.model import Model
from zo_runtime.config.optimizer import DEFAULT_TARGETS
from zo_runtime.data.examples import Example
from zo_runtime.planning.devices import gpus
from zo_runtime.planning.facts import ModelFacts, read_facts
from zo_runtime.planning.memory import Sizes
from zo_runtime.planning.roofline import step_time
from zo_runtime.planning.work import example_work, operations
from zo_runtime.scoring.vllm import EngineOptions, slot_rank
from zo_runtime.zo.layout import BankLayout, select_targets

RANK, SUBSPACES, INTERVAL = 2, 4, 50
WARMUP = 2
SHORTEST, LONGEST = 8, 40
"""Tokens of a prompt: the mean of 24 is that of SST-2 with the template."""
GEMM = {"cuda": 8192, "cpu": 1024}
# Hidden size, blocks and heads of OPT (Zhang et al., arXiv 2205.01068, table 1); the last one is made up.
SIZES = {"1.3b": (2048, 24, 32), "6.7b": (4096, 32, 32), "13b": (5120, 40, 40), "tiny": (256, 4, 4)}


def opt_config(hidden: int, blocks: int, heads: int) -> dict[str, Any]:
    """config.json of an OPT of that size."""
    return {
        "architectures": ["OPTForCausalLM"],
        "model_type": "opt",
        "hidden_size": hidden,
        "ffn_dim": 4 * hidden,
        "word_embed_proj_dim": hidden,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "vocab_size": 50272,
        "max_position_embeddings": 2048,
        "do_layer_norm_before": True,
        "dtype": "bfloat16",
    }


def write_model(folder: Path, size: str) -> Path:
    """A folder with the size's configuration and a tokenizer that nobody asks anything."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(opt_config(*SIZES[size])), encoding="utf-8")
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(50272)}, unk_token="w3"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w3", eos_token="w2").save_pretrained(folder)
    return folder


def made_up(count: int, seed: int = 0) -> list[Example]:
    """Prompts of random tokens with two label words of one token each."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(SHORTEST, LONGEST + 1, size=count)
    return [Example(tuple(rng.integers(4, 50272, size=n).tolist()), ((100,), (101,)), 0) for n in lengths]


def step_flops(facts: ModelFacts, examples: Sequence[Example]) -> float:
    """Floating-point operations of one of our steps."""
    layout = layout_of(facts)
    work = example_work(examples, compact=True).times(2 * len(examples))
    return operations(facts, layout, slot_rank(layout), work).total


def planned_seconds(facts: ModelFacts, examples: Sequence[Example], gpu: str | None) -> float | None:
    """What `zo plan` says of our step on a GPU that the driver calls so; None where no type has that name."""
    kind = next((each for each in gpus() if gpu and re.search(rf"\b{each.name.partition('-')[0]}\b", gpu)), None)
    if kind is None:
        return None
    layout = layout_of(facts)
    sizes = Sizes(2, slot_rank(layout), False, EngineOptions().max_batched_tokens, LONGEST, 1)
    work = example_work(examples, compact=True).times(2 * len(examples))
    return step_time(facts, layout, sizes, work, kind).total


def layout_of(facts: ModelFacts) -> BankLayout:
    """The bank over a model's layers."""
    return BankLayout(select_targets(facts.linear, DEFAULT_TARGETS), RANK, SUBSPACES)


def peak_flops(device: str, rounds: int = 10) -> float:
    """Operations a second of a large bf16 product, the best of some rounds."""
    import torch

    n = GEMM[device]
    a, b = (torch.randn(n, n, dtype=torch.bfloat16, device=device) for _ in range(2))
    best = float("inf")
    for _ in range(rounds + 1):
        _wait(device)
        began = time.perf_counter()
        torch.mm(a, b)
        _wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def measure(size: str, batches: Sequence[int], rounds: int, device: str, folder: Path) -> dict[int, dict[str, Any]]:
    """Seconds of every side at every batch size, and what our step computes."""
    model = write_model(folder / size, size)
    facts = read_facts(Model(name=str(model)))
    examples = {count: made_up(count) for count in batches}
    common = {"model_dir": str(model), "rank": RANK, "interval": INTERVAL, "random_weights": True}
    lozo = common | {"device": device, "targets": DEFAULT_TARGETS}
    in_flight = EngineOptions().max_batched_tokens + 2 * LONGEST
    sides = {
        "lozo": ("lozo", lozo | {"variant": "one-sequence"}),
        "candidates": ("lozo", lozo | {"variant": "candidates"}),
        "ours": ("ours", common | {"kv_cache_bytes": in_flight * facts.kv_bytes_a_token}),
    }
    found: dict[int, dict[str, Any]] = {
        count: {"flops": step_flops(facts, some), "planned": planned_seconds(facts, some, gpu_name(device))}
        for count, some in examples.items()
    }
    for name, (loop, settings) in sides.items():
        child = LoopProcess(loop, examples[batches[0]], threads=2, **settings)
        try:
            for count in batches:
                child.use(examples[count])
                seconds = [child() for _ in range(WARMUP + rounds)][WARMUP:]
                found[count][f"{name}_seconds"] = seconds
        finally:
            child.close()
    return found


def row(size: str, count: int, found: dict[str, Any], peak: float) -> dict[str, Any]:
    """One line of the table."""
    medians = {name: summarize(found[f"{name}_seconds"]).median for name in ("lozo", "candidates", "ours")}
    return {
        "size": size,
        "examples": count,
        "lozo_over_ours": round(medians["lozo"] / medians["ours"], 2),
        "candidates_over_ours": round(medians["candidates"] / medians["ours"], 2),
        "roofline_share": round(found["flops"] / peak / medians["ours"], 3),
        **{f"{name}_seconds": round(value, 5) for name, value in medians.items()},
        "planned_seconds": found["planned"] and round(found["planned"], 5),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, write `gpu_step.json` and `gpu_step.svg`, and end with one line of JSON."""
    given = _options(arguments)
    device = "cpu" if given.dry_run else "cuda"
    before, peak = machine() | {"gpu": gpu_name(device)}, peak_flops(device)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for size in ["tiny"] if given.dry_run else given.sizes:
            found = measure(size, given.batches, given.rounds, device, Path(name))
            rows += [row(size, count, found[count], peak) for count in given.batches]
            for each in rows[-len(given.batches) :]:
                print(json.dumps(each))
    result = {"dry_run": given.dry_run, "peak_flops": peak, "rounds": given.rounds, "machine": before, "rows": rows}
    values = {f"OPT-{r['size']}, {r['examples']} prompts": r["lozo_over_ours"] for r in rows}
    chart = bar_chart("LOZO loop / ours", "times", {label: summarize([v]) for label, v in values.items()})
    keep(given.out, "gpu_step", result, chart)
    print(json.dumps(result))


def gpu_name(device: str) -> str | None:
    """What the driver calls the GPU. Raise SystemExit where there is none."""
    import torch

    if device == "cpu":
        return None
    if not torch.cuda.is_available():
        raise SystemExit("gpu_step: no NVIDIA GPU here: try `--dry-run`")
    return str(torch.cuda.get_device_name())


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.gpu_step", description="Time one step of OPT on an NVIDIA GPU.")
    parser.add_argument(
        "--sizes", nargs="+", choices=[s for s in SIZES if s != "tiny"], default=["1.3b", "6.7b", "13b"]
    )
    parser.add_argument("--batches", nargs="+", type=int, default=None, help="prompts (default 16 32 64 128)")
    parser.add_argument("--rounds", type=int, default=None, help="measured steps (default 20)")
    parser.add_argument("--out", type=Path, default=None, help="where results go (default bench/results)")
    parser.add_argument(
        "--dry-run", action="store_true", help="a tiny model on the CPU, results in a temporary folder"
    )
    given = parser.parse_args(arguments)
    given.batches = given.batches or ([2, 4] if given.dry_run else [16, 32, 64, 128])
    given.rounds = given.rounds or (2 if given.dry_run else 20)
    given.out = given.out or Path(tempfile.mkdtemp() if given.dry_run else "bench/results")
    return given


if __name__ == "__main__":
    main()
