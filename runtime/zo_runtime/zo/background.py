"""Work with directions beside the scoring, in a thread of its own: drawing is free of the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from zo_runtime.zo.bank import Bank, Floats
from zo_runtime.zo.method import Update


class Ahead:
    """Draws the directions of the step that will come next while this one is scored, and keeps this one's."""

    def __init__(self, draw: Callable[[int, int], Floats], directions: int):
        self._draw, self._directions = draw, directions
        self._pool = ThreadPoolExecutor(1, "zo-ahead")
        self._coming: dict[tuple[int, int], Future[Floats]] = {}
        self._taken: dict[tuple[int, int], Floats] = {}

    def take(self, step: int, direction: int) -> Floats:
        """One direction, waited for if it is still being drawn, drawn at once if it was not foreseen. When all of a
        step are taken, the next step's begin."""
        if (step, direction) not in self._taken:
            drawn = self._coming.pop((step, direction), None)
            self._taken = {key: kept for key, kept in self._taken.items() if key[0] == step}
            self._taken[step, direction] = self._draw(step, direction) if drawn is None else drawn.result()
            if len(self._taken) == self._directions:
                self._coming = {
                    (step + 1, j): self._pool.submit(self._draw, step + 1, j) for j in range(self._directions)
                }
        return self._taken[step, direction]

    def kept(self, step: int) -> list[Floats] | None:
        """All directions of a step if they were the last that were taken."""
        found = [self._taken.get((step, j)) for j in range(self._directions)]
        return None if any(one is None for one in found) else [one for one in found if one is not None]


class Behind:
    """Updates a bank while the engine goes on, in the order of the updates."""

    def __init__(self, bank: Bank):
        self._bank, self.step = bank, bank.step
        """`step` is the last update that was asked for."""
        self._pool = ThreadPoolExecutor(1, "zo-behind")
        self._last: Future[None] | None = None

    def apply(self, update: Update) -> None:
        """Have an update applied soon."""
        self._last = self._pool.submit(self._bank.apply, [update])
        self.step = update.step

    def settle(self) -> Bank:
        """The bank after all updates. An error of an earlier one leaves a gap that the last one stumbles over, so
        that its error tells of both."""
        if self._last is not None:
            self._last.result()
        return self._bank
