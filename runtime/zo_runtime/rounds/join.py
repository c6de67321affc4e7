"""A follower's way into a round: the leader writes what the round learns from, the others wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from zo_runtime.deltalog.documents import DataList, Head
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.errors import InvalidSpec
from zo_runtime.rounds.order import data_of_round
from zo_runtime.storage.protocol import ObjectStore

_LOOK_SECONDS = 2.0


def await_data(
    store: ObjectStore, number: int, notify: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> DataList:
    """What the round learns from, as soon as the leader has begun it, however long that takes.

    Raise `LogMismatch` if the round is over, `LogCorrupt`, `StorageError`.
    """
    waiting = False
    while True:
        head = _head(store)
        data = None if head is None else data_of_round(store, head, number)
        if data is not None:
            return data
        if not waiting:
            notify(f"waiting for worker 0 to begin round {number}")
            waiting = True
        sleep(_LOOK_SECONDS)


def _head(store: ObjectStore) -> Head | None:
    try:
        return LogReader(store).head()
    except InvalidSpec:  # there is no log yet
        return None
