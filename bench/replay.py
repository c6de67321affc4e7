"""Replay of a long log: from nothing, from a snapshot, and beside the way that MeZO's own code regenerates updates.

    python -m bench.replay --model DIR [--steps N] [--further N] [--out DIR]

A log of N made-up steps over the adapted layers of a real model is written to disk. Then, in one process: replay of
all steps from nothing; replay of the further steps from the snapshot that the first left; the numbers drawn a second
by one core; and, for a sample of steps scaled to N, the same updates by seeding torch's generator for each step and
drawing every layer's direction with `torch.randn`. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.command import keep, model_folder
from bench.machine import machine
from bench.report import bar_chart, summarize
from bench.serving_log import ServingLog
from zo_runtime.adapter.replay import replay
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.storage.local import LocalStore
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.method import Method, Update

SAMPLE = 200
NUMBERS = 2**24


def numbers_per_second(rounds: int = 5) -> float:
    """Direction numbers that one core draws and adds in a second, the best of some rounds."""
    bank = Bank(
        BankLayout((TensorShape("layer", NUMBERS, 1),), rank=1, subspaces=1),
        Method(seed=7, interval=1, directions=1, epsilon=2.0**-10),
    )
    best = float("inf")
    for step in range(1, rounds + 2):
        began = time.perf_counter()
        bank.apply([Update(step, 1.0, (0.5,))])
        best = min(best, time.perf_counter() - began if step > 1 else best)  # the first one compiles
    return NUMBERS / best


def seeded_loop(layout: BankLayout, steps: int) -> float:
    """Seconds of `steps` updates as MeZO's loop regenerates them: one seed a step, `torch.randn` a layer."""
    factors = [torch.zeros(tensor.out_features, layout.rank) for tensor in layout.tensors]
    began = time.perf_counter()
    for step in range(steps):
        torch.manual_seed(step)
        for factor in factors:
            factor.add_(torch.randn(factor.shape), alpha=1e-5)
    return time.perf_counter() - began


def measure(model: Path, folder: Path, steps: int, further: int) -> dict[str, Any]:
    """Write the log and time every side; seconds."""
    store, snapshots = LocalStore(folder / "log"), folder / "snapshots"
    with ServingLog(store, model, 1e-4) as log:
        log.publish(steps)
        layout = log.bank.layout
        replay(LogReader(store), step=1)  # compile before the clock runs
        began = time.perf_counter()
        bank = replay(LogReader(store), snapshot_dir=snapshots)
        whole = time.perf_counter() - began
        log.publish(further)
        began = time.perf_counter()
        newer = replay(LogReader(store), snapshot_dir=snapshots)
        added = time.perf_counter() - began
        if (bank.step, newer.step, newer.digest()) != (steps, steps + further, log.bank.digest()):
            raise RuntimeError("the replay did not give the writer's bank")
    seeded = seeded_loop(layout, SAMPLE) * steps / SAMPLE
    return {
        "steps": steps,
        "further_steps": further,
        "numbers_a_step": layout.subspace_size,
        "bank_megabytes": round(newer.values.nbytes / 2**20, 1),
        "whole_seconds": round(whole, 2),
        "further_seconds": round(added, 2),
        "seeded_torch_loop_seconds": round(seeded, 2),
        "seeded_over_ours": round(seeded / whole, 2),
        "numbers_per_second_per_core": round(numbers_per_second()),
        "peak_memory_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "threads": len(os.sched_getaffinity(0)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, write `replay.json` and `replay.svg`, and end with one line of JSON."""
    parser = argparse.ArgumentParser(prog="bench.replay", description="Time the replay of a long log.")
    parser.add_argument("--model", type=model_folder, required=True, help="folder of the model")
    parser.add_argument("--steps", type=int, default=20_000, help="steps of the log (default 20000)")
    parser.add_argument("--further", type=int, default=1_000, help="steps after the snapshot (default 1000)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="where the results go")
    given = parser.parse_args(arguments)
    before = machine()
    with tempfile.TemporaryDirectory() as name:
        result = measure(given.model, Path(name), given.steps, given.further)
    result |= {"model": given.model.name, "machine": before}
    sides = {
        f"{given.further} steps from a snapshot": result["further_seconds"],
        f"{given.steps} steps from nothing": result["whole_seconds"],
        f"{given.steps} steps, seeded torch.randn": result["seeded_torch_loop_seconds"],
    }
    chart = bar_chart("Replay", "s", {name: summarize([value]) for name, value in sides.items()})
    keep(given.out, "replay", result, chart)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
