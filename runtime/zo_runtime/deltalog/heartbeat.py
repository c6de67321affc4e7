"""A thread that keeps a lease alive while its writer computes."""

from __future__ import annotations

import logging
import threading

from zo_runtime.deltalog.lease import Lease
from zo_runtime.errors import LogCorrupt, LogOwned, StorageError

log = logging.getLogger(__name__)


class Heartbeat:
    """Renews a lease every `interval` seconds until it is stopped or the lease is lost."""

    def __init__(self, lease: Lease, interval: float):
        self._lease, self._interval = lease, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="zo-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a renewal under way is finished first."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self._lease.require()
            except (LogOwned, StorageError):
                return  # the writer learns it at its next call
            try:
                self._lease.renew()
            except (LogOwned, LogCorrupt) as error:
                log.error("%s", error)
                return
            except StorageError as error:
                log.warning("the heartbeat was not written, trying again: %s", error)
