"""A group of workers that are threads of one process."""

from __future__ import annotations

import threading
from collections import defaultdict

from zo_runtime.workers.group import Floats, WorkerLost

PATIENCE = 30.0


class Board:
    """What the threads share: for each collective in turn, what each of them brought."""

    def __init__(self, size: int):
        self.size, self.closed = size, False
        self._brought: dict[int, dict[int, Floats]] = defaultdict(dict)
        self._changed = threading.Condition()

    def exchange(self, turn: int, rank: int, values: Floats) -> list[Floats]:
        """Everybody's values of a collective. One that is complete succeeds, whoever leaves after it."""
        with self._changed:
            brought = self._brought[turn]
            brought[rank] = values.copy()
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(brought) == self.size or self.closed, PATIENCE)
            if len(brought) < self.size:
                raise WorkerLost("a thread left")
            return [brought[each].copy() for each in range(self.size)]

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()


class ThreadGroup:
    """`workers.group.Group` through shared memory. A worker that closes breaks it for all."""

    def __init__(self, rank: int, board: Board):
        self.rank, self.size = rank, board.size
        self._board, self._turn = board, 0

    def broadcast(self, values: Floats) -> Floats:
        return self.gather(values)[0]

    def gather(self, values: Floats) -> list[Floats]:
        self._turn += 1
        return self._board.exchange(self._turn, self.rank, values)

    def collect(self, values: Floats) -> list[Floats] | None:
        found = self.gather(values)
        return found if self.rank == 0 else None

    def close(self) -> None:
        self._board.close()


def thread_groups(size: int) -> list[ThreadGroup]:
    board = Board(size)
    return [ThreadGroup(rank, board) for rank in range(size)]
