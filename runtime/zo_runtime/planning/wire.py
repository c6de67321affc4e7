"""What several workers send each other, and how long it takes. Pure; bytes and seconds.

Collectives as gloo does them: a broadcast goes down a binomial tree, an all-gather and an all-reduce go round a ring,
and a gather comes straight to its root. Sources: gloo's broadcast.cc, allgather.cc, gather.cc and docs/algorithms.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

NUMBER = 8
"""Bytes of one number in a message (float64)."""
HEADER = 3 * NUMBER
"""Bytes of the leader's announcement."""


@dataclass(frozen=True, slots=True)
class Network:
    """Between two workers: seconds until a message arrives, and bytes a second."""

    latency: float = 50e-6
    bandwidth: float = 1.25e9


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one or more collectives: `sent` bytes of all workers together, `messages` that they are in, and what lies
    on the critical path: `rounds` one after another, and `serial` bytes through one worker's wire."""

    sent: float = 0
    messages: int = 0
    rounds: int = 0
    serial: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.sent + other.sent,
            self.messages + other.messages,
            self.rounds + other.rounds,
            self.serial + other.serial,
        )

    def seconds(self, network: Network) -> float:
        """Time on a network that does nothing else."""
        return self.rounds * network.latency + self.serial / network.bandwidth


def broadcast(size: float, workers: int) -> Cost:
    """`size` bytes from the leader to all."""
    depth = math.ceil(math.log2(workers))
    return Cost(size * (workers - 1), workers - 1, depth, size * depth)


def all_gather(size: float, workers: int) -> Cost:
    """`size` bytes of everybody to everybody."""
    others = workers - 1
    return Cost(size * workers * others, 2 * workers * others, others, size * others)


def all_reduce(size: float, workers: int) -> Cost:
    """The sum of everybody's `size` bytes to everybody; nothing for one worker alone."""
    others = workers - 1
    return Cost(2 * size * others, 2 * workers * others, 2 * others, 2 * size * others / workers)


def collect(size: float, workers: int) -> Cost:
    """`size` bytes of everybody to the leader."""
    others = workers - 1
    return Cost(size * others, others, min(others, 1), size * others)


def scalar_step(items: int, directions: int, workers: int) -> Cost:
    """One step: what `workers.exchange` sends for `items` pairs of losses and one update.

    The leader announces the scoring, collects losses and token counts, announces the update and sends its numbers.
    Shares of equal items are as large as the greatest.
    """
    if workers == 1:
        return Cost()
    scored = collect((1 + math.ceil(items / workers)) * 2 * NUMBER, workers)
    update = broadcast((3 + directions) * NUMBER, workers)
    return broadcast(HEADER, workers) + scored + broadcast(HEADER, workers) + update
