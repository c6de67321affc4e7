"""What the workers need of a network: three collectives over float64 numbers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class WorkerLost(Exception):
    """A worker of the group is gone, and the group with it: meet again."""


class Group(Protocol):
    """Workers 0 to `size` - 1 that call the same collectives in the same order. Worker 0 leads."""

    rank: int
    size: int

    def broadcast(self, values: Floats) -> Floats:
        """The leader's `values`; followers pass any array of the same shape. Raise `WorkerLost`."""

    def gather(self, values: Floats) -> list[Floats]:
        """Everybody's `values` by rank, all of one shape. Raise `WorkerLost`."""

    def collect(self, values: Floats) -> list[Floats] | None:
        """Everybody's `values` by rank for the leader, None for the others, who need not wait for each other. All of
        one shape. Raise `WorkerLost`."""

    def close(self) -> None:
        """Leave. Whoever waits in a collective is told."""


class Alone:
    """A group of the leader alone."""

    rank, size = 0, 1

    def broadcast(self, values: Floats) -> Floats:
        """`Group.broadcast`."""
        return values

    def gather(self, values: Floats) -> list[Floats]:
        """`Group.gather`."""
        return [values]

    def collect(self, values: Floats) -> list[Floats] | None:
        """`Group.collect`."""
        return [values]

    def close(self) -> None:
        """Nothing to leave."""
