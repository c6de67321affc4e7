"""Retries with exponential backoff and jitter, bounded in number and in time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


class Transient(Exception):
    """An attempt failed in a way that another one may cure; `cause` says how."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Retry:
    """How long to keep trying. The pauses double from `first_pause` to `longest_pause`, and each is cut by a
    random half at most, so that many clients of a service that comes back do not all return at once."""

    attempts: int = 12
    """Attempts in all, the first one included."""
    seconds: float = 120.0
    """No attempt starts later than this after the first one."""
    first_pause: float = 0.1
    """Pause after the first failure, in seconds."""
    longest_pause: float = 10.0
    """Longest pause, in seconds."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    uniform: Callable[[float, float], float] = random.uniform

    def call(self, attempt: Callable[[], T]) -> T:
        """Return the first result of `attempt` that is no `Transient`; give up by raising the last one."""
        start = self.clock()
        pause = self.first_pause
        for _ in range(self.attempts - 1):
            try:
                return attempt()
            except Transient:
                wait = self.uniform(pause / 2, pause)
                if self.clock() + wait - start > self.seconds:
                    raise
            self.sleep(wait)
            pause = min(2 * pause, self.longest_pause)
        return attempt()
