"""What more workers cost: the scalar exchange of 1 to 1,000 workers beside an all-reduce of LoRA gradients.

    python -m bench.workers_simulation [--workers 1 2 8 64 256 1000] [--steps N] [--out DIR]

The runtime's own leader and followers run as threads of one process over a group in memory; their engines are
replaced by ones that answer at once. Counted are the collectives of every step with the bytes in them, and the CPU
time that the leader's thread spends on a step, which no further worker can take off it. The time on the wire is
computed from those bytes for a given latency and bandwidth, by what gloo does for each collective; so is that of an
all-reduce of the gradients of a LoRA adapter of the bank's rank on OPT-13B. Forming the group and the engines' work
are not in it. Every follower must come to the leader's digest. The last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.command import keep
from bench.delta_size import lora_bytes, opt_13b
from bench.machine import machine
from bench.report import Series, line_chart
from zo_runtime.data.examples import Example
from zo_runtime.errors import ZOError
from zo_runtime.planning.wire import Cost, Network, all_gather, all_reduce, broadcast, collect
from zo_runtime.scoring.plan import step_items, step_losses
from zo_runtime.scoring.protocol import Item, Judged, Losses, Part
from zo_runtime.workers.follower import Follower
from zo_runtime.workers.group import Floats, WorkerLost
from zo_runtime.workers.leader import SharedScorer
from zo_runtime.zo.estimator import coefficients, projected_gradient
from zo_runtime.zo.method import Update

EPSILON, RATE = 2.0**-10, float(np.float32(3e-5))
FINGERPRINT = "ab" * 32
PATIENCE = 300.0
"""Seconds that a worker waits for the others."""
STACK = 2**19
"""Bytes of a thread's stack: a thousand of them shall fit."""


class Wire:
    """What all workers of a group share: the board that they leave arrays on, and the count of what was sent."""

    def __init__(self, size: int):
        self.size, self.cost, self.collectives = size, Cost(), 0
        self._barrier = threading.Barrier(size)
        self._board: list[Floats] = [np.zeros(0)] * size

    def exchange(self, rank: int, values: Floats, kind: Callable[[float, int], Cost]) -> list[Floats]:
        """Everybody's arrays, once all are there. The leader counts."""
        if rank == 0:
            self.cost += kind(values.nbytes, self.size)
            self.collectives += 1
        self._board[rank] = values
        self._wait()
        found = list(self._board) if rank == 0 or kind is all_gather else self._board[:1]
        self._wait()
        return found

    def abort(self) -> None:
        """Tell whoever waits that it is over."""
        self._barrier.abort()

    def _wait(self) -> None:
        try:
            self._barrier.wait(PATIENCE)
        except threading.BrokenBarrierError as error:
            raise WorkerLost("a worker left") from error


class MemoryGroup:
    """`workers.group.Group` of threads."""

    def __init__(self, wire: Wire, rank: int):
        self.rank, self.size, self._wire = rank, wire.size, wire

    def broadcast(self, values: Floats) -> Floats:
        return self._wire.exchange(self.rank, values, broadcast)[0]

    def gather(self, values: Floats) -> list[Floats]:
        return self._wire.exchange(self.rank, values, all_gather)

    def collect(self, values: Floats) -> list[Floats] | None:
        found = self._wire.exchange(self.rank, values, collect)
        return found if self.rank == 0 else None

    def close(self) -> None:
        """Nothing: a follower that is done must not break the group for those still on their way out."""


class InstantScorer:
    """An engine that needs no time: losses that follow from the example and the step, a digest of all updates."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def apply(self, updates: Sequence[Update]) -> None:
        for update in updates:
            self._sha.update(repr(update).encode())

    def score_items(self, items: Sequence[Item], step: int) -> Part:
        pairs = [(0.7 + 1e-3 * ((7 * e.prompt[0] + step + j) % 11), 0.7) for j, e in items]
        return Part(pairs, sum(2 * len(e.prompt) for _, e in items))

    def score(self, examples: Sequence[Example], step: int) -> Losses:
        return step_losses(self.score_items(step_items(examples, 1), step), 1)

    def judge(self, examples: Sequence[Example]) -> list[Judged]:
        return [(0.7, True)] * len(examples)

    def reset(self) -> None:
        self._sha = hashlib.sha256()

    def digest(self) -> str:
        return self._sha.hexdigest()

    def close(self) -> None: ...


def examples(count: int) -> list[Example]:
    """Prompts as long as SST-2's."""
    lengths = np.random.default_rng(0).integers(8, 41, size=count).tolist()
    return [Example((i,) * n, ((1,), (2,)), 0) for i, n in enumerate(lengths)]


def simulate(workers: int, batch: int, directions: int, steps: int) -> dict[str, Any]:
    """Run the protocol; per step: collectives, messages, bytes, what is on the critical path, the leader's CPU."""
    wire, drawn, failures = Wire(workers), examples(batch), list[Exception]()
    followers = [_follower(MemoryGroup(wire, rank), drawn, directions) for rank in range(1, workers)]
    threading.stack_size(STACK)
    threads = [threading.Thread(target=_serve, args=(follower, failures)) for follower in followers]
    for thread in threads:
        thread.start()
    threading.stack_size(0)
    leader = SharedScorer(
        InstantScorer(), directions, _once(MemoryGroup(wire, 0)), FINGERPRINT, _ignore, sets=[drawn]
    )
    try:
        measured = _lead(leader, wire, drawn, steps)
        leader.dismiss()
    except BaseException:
        wire.abort()
        raise
    finally:
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return {"workers": workers, **measured}


def _lead(leader: SharedScorer, wire: Wire, drawn: list[Example], steps: int) -> dict[str, float]:
    """The leader's steps, after the group was formed and before it is dismissed."""
    empty = leader.digest()
    before, collectives, cpu = wire.cost, wire.collectives, []
    for step in range(1, steps + 1):
        began = time.thread_time()
        losses = leader.score(drawn, step)
        gradients = [projected_gradient(p, m, EPSILON) for p, m in zip(losses.plus, losses.minus, strict=True)]
        leader.apply([Update(step, RATE, coefficients(gradients, RATE, None))])
        cpu.append(time.thread_time() - began)
    spent, made = wire.cost, wire.collectives - collectives
    if leader.digest() == empty:  # the others' are compared with it
        raise RuntimeError("no update reached the banks")
    return {
        "collectives": made / steps,
        "messages": (spent.messages - before.messages) / steps,
        "bytes": (spent.sent - before.sent) / steps,
        "rounds": (spent.rounds - before.rounds) / steps,
        "serial_bytes": (spent.serial - before.serial) / steps,
        "leader_cpu_seconds": float(np.median(cpu)),
    }


def _serve(follower: Follower, failures: list[Exception]) -> None:
    try:
        follower.run()
    except (ZOError, RuntimeError) as error:  # a thread has no other way to tell
        failures.append(error)


def _ignore(_: str) -> None: ...


def _once(group: MemoryGroup) -> Callable[[], MemoryGroup]:
    """A meeting that forms one group. Nobody is lost here: a second one is a defect."""
    groups = [group]

    def meet() -> MemoryGroup:
        if not groups:
            raise RuntimeError(f"worker {group.rank} left the group")
        return groups.pop()

    return meet


def _follower(group: MemoryGroup, drawn: list[Example], directions: int) -> Follower:
    return Follower(
        scorer=InstantScorer(),
        directions=directions,
        batch=lambda step: drawn,
        sets=[drawn],
        fingerprint=FINGERPRINT,
        meet=_once(group),
        notify=_ignore,
    )


def row(found: dict[str, Any], gradient_bytes: int, network: Network) -> dict[str, Any]:
    """One line of the table: the exchange as it was counted, and both sides' seconds on the network."""
    path = Cost(rounds=round(found["rounds"]), serial=found["serial_bytes"])
    gradients = all_reduce(gradient_bytes, found["workers"])
    wire = path.seconds(network)
    return {
        **{name: found[name] for name in ("workers", "collectives", "messages", "bytes")},
        "leader_cpu_seconds": round(found["leader_cpu_seconds"], 6),
        "wire_seconds": round(wire, 6),
        "scalar_seconds": round(wire + found["leader_cpu_seconds"], 6),
        "gradient_bytes": gradients.sent,
        "gradient_seconds": round(gradients.seconds(network), 6),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, write `workers_simulation.json` and `.svg`, and end with one line of JSON."""
    given = _options(arguments)
    before, network = machine(), Network(given.latency, given.bandwidth)
    gradient_bytes = lora_bytes(opt_13b())
    rows = []
    for workers in given.workers:
        found = simulate(workers, given.batch, given.directions, given.steps)
        rows.append(row(found, gradient_bytes, network))
        print(json.dumps(rows[-1]), flush=True)
    setting = {name: getattr(given, name) for name in ("batch", "directions", "steps", "latency", "bandwidth")}
    result = {"rows": rows, "setting": setting, "gradient_bytes": gradient_bytes, "machine": before}
    several = [r for r in rows if r["workers"] > 1]
    sides = {"scalars, with the leader's CPU": "scalar_seconds", "LoRA gradients, all-reduce": "gradient_seconds"}
    series = [Series(label, [(r["workers"], r[side]) for r in several]) for label, side in sides.items()]
    title = f"Exchange of one step, {given.bandwidth * 8 / 1e9:g} Gbit/s and {given.latency * 1e6:g} µs"
    chart = line_chart(title, "workers", "seconds", series)
    keep(given.out, "workers_simulation", result, chart)
    print(json.dumps(result))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.workers_simulation", description="Count the workers' exchange.")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 8, 64, 256, 1000], help="how many, in turn")
    parser.add_argument("--batch", type=int, default=1024, help="examples of a step (default 1024)")
    parser.add_argument("--directions", type=int, default=1, help="directions of a step (default 1)")
    parser.add_argument("--steps", type=int, default=10, help="steps of each run (default 10)")
    parser.add_argument("--latency", type=float, default=Network().latency, help="seconds of a message (50e-6)")
    parser.add_argument("--bandwidth", type=float, default=Network().bandwidth, help="bytes a second (1.25e9)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="where the results go")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
