"""A group of workers that are threads of one process."""

from __future__ import annotations

import threading

from zo_runtime.workers.group import Floats, WorkerLost


class ThreadGroup:
    """`workers.group.Group` through shared memory. A worker that closes breaks it for all."""

    def __init__(self, rank: int, size: int, barrier: threading.Barrier, board: dict[int, Floats]):
        self.rank, self.size = rank, size
        self._barrier, self._board = barrier, board

    def broadcast(self, values: Floats) -> Floats:
        return self.gather(values)[0]

    def gather(self, values: Floats) -> list[Floats]:
        self._board[self.rank] = values.copy()
        try:
            self._barrier.wait(30)
            found = [self._board[rank].copy() for rank in range(self.size)]
            self._barrier.wait(30)
        except threading.BrokenBarrierError as error:
            raise WorkerLost("a thread left") from error
        return found

    def collect(self, values: Floats) -> list[Floats] | None:
        found = self.gather(values)
        return found if self.rank == 0 else None

    def close(self) -> None:
        self._barrier.abort()


def thread_groups(size: int) -> list[ThreadGroup]:
    barrier, board = threading.Barrier(size), dict[int, Floats]()
    return [ThreadGroup(rank, size, barrier, board) for rank in range(size)]
