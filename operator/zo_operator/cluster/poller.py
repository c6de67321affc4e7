"""Asking every running leader for its progress, now and then, beside the reconciles.

A pod that does not answer costs its own task a time-out, and no reconcile anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from zo_operator.cluster.progress import ProgressReader
from zo_operator.reconcile.observed import Leader, Reading
from zo_runtime.progress import Progress

_SHORTEST_PAUSE = 1.0
# Questions at the same time.
_PARALLEL = 64


@dataclass(slots=True)
class _Watch:
    leader: Leader
    task: asyncio.Task[None]
    progress: Progress | None = None


class Poller:
    """Follows leaders by resource. `touched` is called with the uid whose leader has something new to say."""

    def __init__(self, reader: ProgressReader, seconds: float, touched: Callable[[str], None]) -> None:
        self._reader, self._seconds, self._touched = reader, seconds, touched
        self._watches: dict[str, _Watch] = {}
        self._free = asyncio.Semaphore(_PARALLEL)

    def follow(self, uid: str, leader: Leader | None) -> None:
        """Ask that leader from now on, and no other; none: ask nobody."""
        known = self._watches.get(uid)
        if known is not None and known.leader == leader:
            return
        if known is not None:
            known.task.cancel()
            del self._watches[uid]
        if leader is not None:
            self._watches[uid] = _Watch(leader, asyncio.create_task(self._ask(uid, leader)))

    def latest(self, uid: str) -> Reading | None:
        """What the leader said last."""
        known = self._watches.get(uid)
        if known is None or known.progress is None:
            return None
        return Reading(known.leader.pod, known.progress)

    def close(self) -> None:
        """Ask nobody any more."""
        for uid in list(self._watches):
            self.follow(uid, None)

    async def _ask(self, uid: str, leader: Leader) -> None:
        while True:
            async with self._free:
                progress = await self._reader.read(leader.url)
            watch = self._watches[uid]
            if progress is not None and progress != watch.progress:
                watch.progress = progress
                self._touched(uid)
            await asyncio.sleep(self._pause(progress))

    def _pause(self, progress: Progress | None) -> float:
        """Sooner towards the end of a run, so that its last numbers are seen."""
        eta = progress.eta_seconds if progress is not None else None
        return self._seconds if eta is None else min(self._seconds, max(_SHORTEST_PAUSE, eta))
