"""The order of batches: a pure function of the seed, the number of examples and the step.

Epoch after epoch, all examples are drawn once each in a fresh order; a batch may reach from one epoch into
the next. The order of an epoch sorts the examples by SplitMix64 outputs (Steele, Lea and Flood, "Fast
splittable pseudorandom number generators", 2014) of a state that BLAKE2b makes of the seed and the epoch:
integer arithmetic modulo 2^64 only, no library generator, so that any machine and any version computes the
same order. SplitMix64 visits each 64-bit value once, so no two examples ever tie.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def splitmix64(state: int, count: int) -> NDArray[np.uint64]:
    """The first `count` outputs of SplitMix64 from `state`, 0 <= state < 2^64."""
    z = np.uint64(state) + _GAMMA * np.arange(1, count + 1, dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def epoch_order(seed: int, epoch: int, size: int) -> NDArray[np.intp]:
    """A permutation of 0..size-1."""
    state = hashlib.blake2b(f"zo-batches {seed} {epoch}\n".encode(), digest_size=8).digest()
    return np.argsort(splitmix64(int.from_bytes(state, "little"), size), kind="stable")


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """Which examples each step scores: `size` examples, `batch_size` of them at a time."""

    seed: int
    size: int
    batch_size: int
    _orders: dict[int, NDArray[np.intp]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seed < 0 or self.size < 1 or self.batch_size < 1:
            raise ValueError(f"no order of batches for {self}")

    def cursor(self, step: int) -> int:
        """Number of examples drawn before `step`; steps count from 1."""
        return (step - 1) * self.batch_size

    def indices(self, step: int) -> list[int]:
        """The `batch_size` examples of a step. An example comes twice only where the batch enters a new epoch."""
        if step < 1:
            raise ValueError(f"steps count from 1, not {step}")
        start = self.cursor(step)
        return [self._at(position) for position in range(start, start + self.batch_size)]

    def _at(self, position: int) -> int:
        epoch, place = divmod(position, self.size)
        order = self._orders.get(epoch)
        if order is None:
            order = epoch_order(self.seed, epoch, self.size)
            self._orders.clear()  # the orders of past epochs are not needed again
            self._orders[epoch] = order
        return int(order[place])
