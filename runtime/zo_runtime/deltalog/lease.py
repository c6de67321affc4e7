"""The single writer: who may write LATEST.json, decided by compare-and-swap alone.

Every write of LATEST.json replaces exactly the bytes that this writer put or took over before. If that fails,
somebody else took the run, and this writer is fenced for good. How *soon* a run may be taken from a silent writer
is only a question of politeness, answered by `acquire`; safety never rests on a clock.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from zo_runtime.deltalog.checked_json import decode, encode
from zo_runtime.deltalog.clock import Clock
from zo_runtime.deltalog.documents import Latest, WriterInfo
from zo_runtime.deltalog.names import LATEST
from zo_runtime.deltalog.owner import Identity
from zo_runtime.errors import LogCorrupt, LogOwned, StorageError
from zo_runtime.storage.protocol import NotFound, ObjectStore, PreconditionFailed

log = logging.getLogger(__name__)
_LOOKS_PER_LEASE = 10
# One conflict with an own earlier write is normal, two are bad luck; a store that goes on is not one.
_SWAP_ATTEMPTS = 4


class Lease:
    """The right to write one run's LATEST.json. Safe between threads; `acquire` makes it."""

    def __init__(self, store: ObjectStore, latest: Latest, etag: str):
        self.latest = latest
        self._store, self._etag = store, etag
        self._lock = threading.Lock()
        self._lost: LogOwned | StorageError | None = None

    @property
    def size(self) -> int:
        """Bytes of LATEST.json."""
        return len(encode(self.latest))

    def require(self) -> None:
        """Raise what ended the right to write, if anything did: `LogOwned` or `StorageError`."""
        if self._lost is not None:
            raise self._lost

    def commit(self, change: Callable[[Latest], Latest]) -> None:
        """Write the changed LATEST.json. Raise `LogOwned` when another writer took the run.

        After any other failure nobody knows whether the write took effect. Going on could take back a version that
        a reader has seen, so this writer ends: the next one begins with what the store says.
        """
        with self._lock:
            self.require()
            try:
                self._swap(change)
            except LogOwned:
                raise
            except BaseException as error:
                kind = type(error) if isinstance(error, StorageError) else StorageError
                self._lost = kind(f"{error}; what the log holds is uncertain: start again to resume")
                raise

    def renew(self) -> None:
        """Show that the writer lives. Raise `LogOwned`; a `StorageError` changes nothing, try again later."""
        with self._lock:
            self.require()
            self._swap(lambda latest: latest)

    def release(self) -> None:
        """Let the next writer in at once. A store that fails only makes it wait."""
        with self._lock:
            if isinstance(self._lost, LogOwned):
                return
            try:
                # After a failed commit only the store knows the head.
                self._adopt_own()
                self._swap(lambda latest: _with_writer(latest, released=True))
            except StorageError as error:
                log.warning("the log's owner could not be cleared, the next writer has to wait: %s", error)
            except LogOwned:
                return
            self._lost = LogOwned(f"the writer of {self._store.uri} is closed")

    def _swap(self, change: Callable[[Latest], Latest]) -> None:
        for _ in range(_SWAP_ATTEMPTS):
            beat = self.latest.writer.heartbeat + 1
            wanted = _with_writer(change(self.latest), heartbeat=beat)
            data = encode(wanted)
            try:
                self._etag = self._store.put(LATEST, data, if_match=self._etag)
            except PreconditionFailed:
                if self._adopt_own() == data:
                    return  # it was written, only the answer was lost
            else:
                self.latest = wanted
                return
        raise StorageError(f"{self._store.uri} does not honour If-Match; use a store with conditional writes")

    def _adopt_own(self) -> bytes:
        """Take over what an earlier write of ours left there; anybody else's means that we are fenced."""
        try:
            stored, etag = self._store.get(LATEST)
        except NotFound:
            raise self._fenced(f"{LATEST} of {self._store.uri} was deleted; restore it from a copy") from None
        latest = decode(stored, Latest, LATEST)
        if (latest.writer.id, latest.writer.epoch) != (self.latest.writer.id, self.latest.writer.epoch):
            raise self._fenced(f"{_describe(latest.writer, self._store.uri)} took the run over from this one")
        self.latest, self._etag = latest, etag
        return stored

    def _fenced(self, message: str) -> LogOwned:
        self._lost = LogOwned(message)
        return self._lost


def acquire(
    store: ObjectStore, first: Callable[[WriterInfo], Latest], who: Identity, clock: Clock, lease_seconds: float
) -> Lease:
    """Take the run, or raise `LogOwned`. `first` makes the LATEST.json of a run that has none.

    A released run is free, and so is one whose writer died on this machine. A live writer on this machine keeps
    it. Any other writer keeps it if its heartbeat changes within `lease_seconds`, by this machine's clock.
    """
    try:
        data, etag = store.get(LATEST)
    except NotFound:
        lease = _take(store, first(who.claim(1)), None)
        _require_conditional_writes(store, lease)
        return lease
    latest = decode(data, Latest, LATEST)
    if not latest.writer.released:
        _wait_for_silence(store, latest.writer, etag, who, clock, lease_seconds)
    return _take(store, latest.model_copy(update={"writer": who.claim(latest.writer.epoch + 1)}), etag)


def _take(store: ObjectStore, wanted: Latest, etag: str | None) -> Lease:
    data = encode(wanted)
    try:
        return Lease(store, wanted, store.put(LATEST, data, if_absent=etag is None, if_match=etag))
    except PreconditionFailed:
        stored, new_etag = store.get(LATEST)
    if stored != data:
        raise LogOwned(_owned(decode(stored, Latest, LATEST).writer, store.uri))
    return Lease(store, wanted, new_etag)


def _require_conditional_writes(store: ObjectStore, lease: Lease) -> None:
    """Safety rests on conditional writes alone, and a service that does not know their headers ignores them. The
    bytes written here are those that are there already."""
    data = encode(lease.latest)
    for header, if_absent, if_match in (("If-None-Match", True, None), ("If-Match", False, '"no-such-etag"')):
        try:
            store.put(LATEST, data, if_absent=if_absent, if_match=if_match)
        except PreconditionFailed:
            continue
        raise StorageError(f"{store.uri} does not honour {header}; use a store with conditional writes")


def _wait_for_silence(
    store: ObjectStore, writer: WriterInfo, etag: str, who: Identity, clock: Clock, lease_seconds: float
) -> None:
    """Return once the writer may be taken for dead; raise `LogOwned` when it shows that it is not."""
    alive = who.is_alive(writer)
    if alive is False:
        return
    if alive:
        raise LogOwned(_owned(writer, store.uri))
    log.info("%s has not released the run; watching it for %.0f s", _describe(writer, store.uri), lease_seconds)
    end = clock.monotonic() + lease_seconds
    while (left := end - clock.monotonic()) > 0:
        clock.sleep(min(left, lease_seconds / _LOOKS_PER_LEASE))
        try:
            changed = store.get(LATEST)[1] != etag
        except NotFound:
            raise LogCorrupt(f"{LATEST} of {store.uri} was deleted; restore it from a copy") from None
        if changed:
            raise LogOwned(_owned(writer, store.uri))


def _with_writer(latest: Latest, **changes: int | bool) -> Latest:
    return latest.model_copy(update={"writer": latest.writer.model_copy(update=changes)})


def _owned(writer: WriterInfo, uri: str) -> str:
    return f"{_describe(writer, uri)} is writing this run; end it, or use another storage.uri"


def _describe(writer: WriterInfo, uri: str) -> str:
    return f"process {writer.pid} on {writer.host} (writer {writer.epoch} of {uri})"
