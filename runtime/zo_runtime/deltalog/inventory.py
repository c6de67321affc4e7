"""The objects of a log as its writer knows them: sizes, and litter of crashes to be cleared.

Which litter may go: only objects whose last step the head has passed. No writer, however late it wakes up, can
want such a key again, so the deletion of a stalled writer can never hit an object of its successor. Litter ahead
of the head is replaced, or passed and then cleared, by later flushes.
"""

from __future__ import annotations

import logging
from typing import Self

from zo_runtime.deltalog.chain import History
from zo_runtime.deltalog.lease import Lease
from zo_runtime.deltalog.names import LATEST, is_log_object, last_step_of
from zo_runtime.errors import LogCorrupt, StorageError
from zo_runtime.storage.protocol import NotFound, ObjectStore, PreconditionFailed

log = logging.getLogger(__name__)
_ATTEMPTS = 3


class Inventory:
    """Sizes in bytes of a log's objects. `written` counts all bytes put since the log was opened."""

    def __init__(self, store: ObjectStore, lease: Lease, sizes: dict[str, int], published: set[str]):
        """Use `of`."""
        self.written = 0
        self._store, self._lease, self._sizes = store, lease, sizes
        # Segments and metrics that no version names: the head's own, and litter.
        self._loose = {key for key in sizes if last_step_of(key) is not None} - published

    @classmethod
    def of(cls, store: ObjectStore, lease: Lease, history: History) -> Self:
        """Take stock of a log. Raise `LogCorrupt` if an object that counts is missing or has another size."""
        sizes = {info.key: info.size for info in store.list() if is_log_object(info.key) and info.key != LATEST}
        for ref in (*history.segments, *history.metrics):
            if ref.key not in sizes:
                raise LogCorrupt(f"{ref.key} of {store.uri} is missing; restore it from a copy")
            if sizes[ref.key] != ref.size:
                raise LogCorrupt(f"{ref.key} of {store.uri} has {sizes[ref.key]} bytes, not {ref.size}; "
                                 "restore it from a copy")  # fmt: skip
        published = {ref.key for v in history.versions for ref in (*v.segments, *v.metrics)}
        inventory = cls(store, lease, sizes, published)
        inventory.settle(history)
        return inventory

    @property
    def total_bytes(self) -> int:
        """Bytes of all objects of the log, LATEST.json included."""
        return sum(self._sizes.values()) + self._lease.size

    def put(self, key: str, data: bytes) -> None:
        """Write an object that the head does not name yet, over litter if need be."""
        if last_step_of(key) is not None:
            self._loose.add(key)
        for _ in range(_ATTEMPTS):
            try:
                self._store.put(key, data, if_absent=True)
                break
            except PreconditionFailed:
                if self._replace(key, data):
                    break
        else:
            raise StorageError(f"{key} of {self._store.uri} changes while it is written; start again to resume")
        self._sizes[key] = len(data)
        self.written += len(data)

    def settle(self, history: History) -> None:
        """After a commit: leave to the newest version what it names, delete what the head has passed.

        What cannot be deleted now is tried again next time. It does no harm, and a bucket that forbids deletion
        is no reason to stop.
        """
        head = history.latest.head
        for version in history.versions[-1:]:
            self._loose -= {ref.key for ref in (*version.segments, *version.metrics)}
        for key in sorted(self._loose - {ref.key for ref in (*head.segments, *head.metrics)}):
            if (last_step_of(key) or 0) <= head.step:
                try:
                    self._store.delete(key)
                except StorageError as error:
                    log.warning("a replaced object of the log was left behind: %s", error)
                    return
                self._loose.discard(key)
                self._sizes.pop(key, None)

    def _replace(self, key: str, data: bytes) -> bool:
        """Put `data` over what lies under `key`; False if that is gone or changed meanwhile."""
        try:
            stored, etag = self._store.get(key)
        except NotFound:
            return False
        if stored == data:
            return True
        self._lease.renew()  # proves that what was read just now is no successor's
        try:
            self._store.put(key, data, if_match=etag)
        except PreconditionFailed:
            return False
        return True
