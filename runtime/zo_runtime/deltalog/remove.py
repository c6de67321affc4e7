"""Removing a whole log: every object that the product wrote, and nothing else below its URI.

The run is taken from its writer first, so that nothing is written meanwhile, and LATEST.json, which says so, goes
last. A removal that was cut short is finished by the next one: what belongs to a log is told by keys, and for the
keys under which users may keep data of their own, by the content.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from zo_runtime.deltalog.clock import Clock, SystemClock
from zo_runtime.deltalog.data_list import holds_data_list
from zo_runtime.deltalog.documents import Latest, WriterInfo
from zo_runtime.deltalog.fetch import in_order
from zo_runtime.deltalog.heartbeat import Heartbeat
from zo_runtime.deltalog.lease import Lease, acquire
from zo_runtime.deltalog.names import LATEST, RUN, is_data_list, is_own_object
from zo_runtime.deltalog.owner import Identity, Process
from zo_runtime.deltalog.writer import LEASE_SECONDS
from zo_runtime.errors import LogCorrupt
from zo_runtime.storage.protocol import ObjectInfo, ObjectStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed, and how many objects of others stay below the URI."""

    objects: int
    bytes: int
    foreign: int


def remove(
    store: ObjectStore,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    who: Identity | None = None,
    clock: Clock | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> Removal:
    """Remove the log at a store; one that is not there is no error.

    Raises:
        LogOwned: its writer lives, or another one took the run meanwhile: what is left is as it was.
        StorageError: an object cannot be deleted; a repetition goes on there.
    """
    found = list(store.list())
    mine = sorted((info for info in found if _is_mine(store, info.key)), key=_order)
    who, clock = who or Process.current(), clock or SystemClock()
    with _exclusively(store, mine, who, clock, lease_seconds) as lease:

        def delete(info: ObjectInfo) -> None:
            if lease is not None:
                lease.require()
            store.delete(info.key)

        rest = [info for info in mine if info.key != LATEST]
        for done, _ in enumerate(in_order(delete, rest), start=1):
            on_progress(done, len(mine))
    if lease is not None:
        lease.require()
    store.delete(LATEST)
    on_progress(len(mine), len(mine))
    return Removal(len(mine), sum(info.size for info in mine), len(found) - len(mine))


def _is_mine(store: ObjectStore, key: str) -> bool:
    return is_own_object(key) and (not is_data_list(key) or holds_data_list(store, key))


def _order(info: ObjectInfo) -> tuple[bool, str]:
    """run.json first: without it nobody takes what is left for a log that can be continued."""
    return info.key != RUN, info.key


@contextmanager
def _exclusively(
    store: ObjectStore, mine: list[ObjectInfo], who: Identity, clock: Clock, lease_seconds: float
) -> Iterator[Lease | None]:
    """Hold the run's lease; none where no writer could take the run, for want of a sound LATEST.json."""
    if not any(info.key == LATEST for info in mine):
        yield None
        return
    try:
        lease = acquire(store, _gone_meanwhile, who, clock, lease_seconds)
    except LogCorrupt as error:
        log.warning("%s", error)
        yield None
        return
    heartbeat = Heartbeat(lease, lease_seconds / 3)
    try:
        yield lease
    except BaseException:
        heartbeat.stop()
        lease.release()
        raise
    heartbeat.stop()


def _gone_meanwhile(_: WriterInfo) -> Latest:
    raise LogCorrupt(f"{LATEST} was deleted by another process")
