"""A queue of keys to work on: each at most once at a time, later or again where asked, with growing pauses
after failures."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """For one event loop. A key that is added while it is worked on is worked on once more afterwards."""

    def __init__(self, first_pause: float, longest_pause: float) -> None:
        self._first, self._longest = first_pause, longest_pause
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        """Keys that wait to be worked on now."""
        return len(self._waiting) + len(self._again)

    def add(self, key: Key) -> None:
        """Work on the key as soon as a worker is free."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_later(self, key: Key, seconds: float) -> None:
        """Work on the key after a time; an earlier appointment stands."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and not timer.cancelled() and timer.when() <= loop.time() + seconds:
            return
        self._cancel(key)
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def retry(self, key: Key) -> float:
        """Work on the key again after a pause that doubles with each failure; return the pause."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pause = min(self._longest, self._first * 2.0 ** min(failures, 32))
        self.add_later(key, pause)
        return pause

    def forgive(self, key: Key) -> None:
        """Forget the key's failures."""
        self._failures.pop(key, None)

    async def take(self) -> Key:
        """Wait for a key; it counts as worked on until `done`."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        self._cancel(key)
        return key

    def done(self, key: Key) -> None:
        """The work on a key is over."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def busy(self) -> bool:
        """Whether any key is worked on."""
        return bool(self._working)

    def close(self) -> None:
        """Cancel all appointments."""
        for key in list(self._timers):
            self._cancel(key)

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _cancel(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
