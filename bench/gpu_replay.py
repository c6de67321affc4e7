"""Replay of 20,000 steps of OPT-13B: on the GPU, on the CPU's cores, and as MeZO's loop regenerates updates.

    python -m bench.gpu_replay [--steps N] [--out DIR]
    python -m bench.gpu_replay --dry-run

The bank in device memory (what a training or serving worker holds) and the bank in host memory (what `zo replay`
builds) apply the same made-up updates from nothing; their digests must agree. The third side seeds torch's generator
for each step and draws every layer's direction with `torch.randn` on the GPU, for a sample of steps scaled up.
Reading the log is left out: `bench.replay` times it.

The generator by itself is timed too: numbers drawn and added a second, many steps in a launch as in replay, and
numbers drawn into memory a second, as a probe needs them. `--dry-run` takes a small model through the same code on
the CPU. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.command import keep
from bench.delta_size import opt_13b
from bench.gpu_step import gpu_name
from bench.machine import machine
from bench.report import bar_chart, summarize
from zo_runtime.device.bank import DeviceBank
from zo_runtime.device.draws import make_draws
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.estimator import round_coefficient
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.pieces import all_factors

METHOD = Method(seed=3, interval=50, directions=1, epsilon=2.0**-10)
SMALL = BankLayout(tuple(TensorShape(f"m.{i}.q_proj", 96, 64) for i in range(4)), rank=2, subspaces=4)
CHUNK = 1000
"""Updates that are handed over at once."""
SAMPLE = 200
ROUNDS = 5


def generator(layout: BankLayout, device: str) -> dict[str, Any]:
    """Numbers a second, the best of some rounds, and what draws them."""
    draws, run = make_draws(all_factors(layout), torch.device(device)), made_up(SAMPLE)
    values = torch.zeros(layout.subspace_size, device=device)

    def seconds(work: Callable[[], object]) -> float:
        work()  # compile before the clock runs
        times = []
        for _ in range(ROUNDS):
            _wait(device)
            began = time.perf_counter()
            work()
            _wait(device)
            times.append(time.perf_counter() - began)
        return min(times)

    added = seconds(lambda: draws.apply(values, None, run, METHOD))
    drawn = seconds(lambda: [draws.draw(METHOD, step, 0) for step in range(1, SAMPLE + 1)])
    numbers = SAMPLE * layout.subspace_size
    return {
        "generator": type(draws).__name__,
        "numbers_added_per_second": round(numbers / added),
        "numbers_drawn_per_second": round(numbers / drawn),
    }


def made_up(steps: int) -> list[Update]:
    """Updates whose coefficients have the size of real ones."""
    rng = np.random.default_rng(1)
    return [
        Update(step, 3e-5, (round_coefficient(float(g)),)) for step, g in enumerate(3e-5 * rng.normal(size=steps), 1)
    ]


def timed(apply: Callable[[Sequence[Update]], None], updates: Sequence[Update], device: str) -> float:
    """Seconds to apply all updates."""
    began = time.perf_counter()
    for start in range(0, len(updates), CHUNK):
        apply(updates[start : start + CHUNK])
    _wait(device)
    return time.perf_counter() - began


def seeded_loop(layout: BankLayout, steps: int, device: str) -> float:
    """Seconds of `steps` updates as MeZO's loop regenerates them, on the device."""
    factors = [torch.zeros(tensor.out_features, layout.rank, device=device) for tensor in layout.tensors]
    _wait(device)
    began = time.perf_counter()
    for step in range(steps):
        torch.manual_seed(step)
        for factor in factors:
            factor.add_(torch.randn(factor.shape, device=device), alpha=1e-5)
    _wait(device)
    return time.perf_counter() - began


def measure(layout: BankLayout, steps: int, device: str) -> dict[str, Any]:
    """Time every side; seconds."""
    updates, cores = made_up(steps), len(os.sched_getaffinity(0))
    for warm in (DeviceBank(layout, METHOD, torch.device(device)), Bank(layout, METHOD)):
        warm.apply(updates[:2])  # compile before the clock runs
    on_device, on_host = DeviceBank(layout, METHOD, torch.device(device)), Bank(layout, METHOD)
    device_seconds = timed(on_device.apply, updates, device)
    host_seconds = timed(lambda some: on_host.apply(some, cores), updates, device)
    if on_device.digest() != on_host.digest():
        raise RuntimeError("the device's bank is not the host's")
    sample = min(SAMPLE, steps)
    return {
        "steps": steps,
        "numbers_a_step": layout.subspace_size,
        "device_seconds": round(device_seconds, 2),
        "device_numbers_per_second": round(steps * layout.subspace_size / device_seconds),
        "host_seconds": round(host_seconds, 2),
        "host_threads": cores,
        "seeded_torch_loop_seconds": round(seeded_loop(layout, sample, device) * steps / sample, 2),
        **generator(layout, device),
        "digest": on_device.digest(),
    }


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, write `gpu_replay.json` and `gpu_replay.svg`, and end with one line of JSON."""
    parser = argparse.ArgumentParser(prog="bench.gpu_replay", description="Time a replay of OPT-13B on a GPU.")
    parser.add_argument("--steps", type=int, default=None, help="steps (default 20000)")
    parser.add_argument("--out", type=Path, default=None, help="where results go (default bench/results)")
    parser.add_argument(
        "--dry-run", action="store_true", help="a small model on the CPU, results in a temporary folder"
    )
    given = parser.parse_args(arguments)
    device = "cpu" if given.dry_run else "cuda"
    before = machine() | {"gpu": gpu_name(device)}
    layout, steps = (SMALL, 300) if given.dry_run else (opt_13b(), 20_000)
    result = {"dry_run": given.dry_run, **measure(layout, given.steps or steps, device), "machine": before}
    sides = {
        "on the GPU": "device",
        f"{result['host_threads']} CPU cores": "host",
        "seeded torch.randn": "seeded_torch_loop",
    }
    bars = {label: summarize([result[f"{side}_seconds"]]) for label, side in sides.items()}
    out = given.out or Path(tempfile.mkdtemp() if given.dry_run else "bench/results")
    keep(out, "gpu_replay", result, bar_chart(f"Replay of {result['steps']} steps", "s", bars))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
