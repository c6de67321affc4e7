"""The running operator: the store that watches fill, the workers that reconcile, the resync that trues both up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime

from zo_operator.cluster.asker import Asker
from zo_operator.cluster.client import Client
from zo_operator.cluster.executor import Executor
from zo_operator.cluster.kinds import RESOURCE, WATCHED, KindInfo
from zo_operator.cluster.lease import LeaseLock
from zo_operator.cluster.poller import Poller
from zo_operator.cluster.progress import ProgressReader
from zo_operator.cluster.prometheus import MetricsSource
from zo_operator.cluster.replicas import ReplicaReader
from zo_operator.cluster.store import Store
from zo_operator.cluster.surveyor import Surveyor
from zo_operator.errors import ApiError
from zo_operator.manifests.metadata import Object
from zo_operator.metrics import Metrics
from zo_operator.reconcile.queue import WorkQueue
from zo_operator.reconcile.reconciler import Outcome, Reconciler, present
from zo_operator.settings import Settings

logger = logging.getLogger(__name__)

# A watch that starts anew may have missed deletions; several kinds do so together after a pause of the network.
_RELIST_PAUSE = 1.0


class Controller:
    """Everything between the watches and the API calls. One instance, one event loop, no globals."""

    def __init__(
        self,
        client: Client,
        reader: ProgressReader,
        replicas: ReplicaReader,
        source: MetricsSource,
        settings: Settings,
        metrics: Metrics,
        give_up: Callable[[], None],
        now: Callable[[], datetime] = present,
    ) -> None:
        """`give_up` is called when this replica may not work any more and its process has to end; `now` is the clock
        that schedules go by."""
        self._client, self._settings, self._metrics, self._give_up = client, settings, metrics, give_up
        self.queue: WorkQueue[str] = WorkQueue(settings.backoff_seconds, settings.backoff_limit_seconds)
        self.store = Store(self._touched)
        self._poller = Poller(reader, settings.poll_seconds, self._touched)
        self._surveyor = Surveyor(client, replicas, settings.poll_seconds, self._touched)
        self._asker = Asker(client, source, self._touched)
        executor = Executor(client, self.store)
        self._reconciler = Reconciler(self.store, executor, self._poller, self._surveyor, self._asker, settings, now)
        self._lease = LeaseLock(client, settings) if settings.lease_name else None
        self._tasks: list[asyncio.Task[None]] = []
        self._relist = asyncio.Event()
        self._synced_at: float | None = None
        self._active = False
        metrics.watch(self.store.resources, self.store.size, lambda: len(self.queue))

    # -- what kopf's handlers call

    def seen(self, kind: KindInfo, event: str | None, body: Object) -> None:
        """Take in one watch event; `event` is none for an object from a list."""
        if event == "DELETED":
            self.store.drop(kind, body)
            return
        self.store.put(kind, body)
        if event is None and self._synced_at is not None:
            self._relist.set()

    async def start(self) -> None:
        """Wait for the CRD, then begin to work in the background."""
        pause = self._settings.backoff_seconds
        while not await self._served():
            logger.warning("the ZOFineTune CRD is not installed yet")
            await asyncio.sleep(pause)
            pause = min(30.0, 2 * pause)
        self._tasks.append(asyncio.create_task(self._supervise(), name="supervisor"))

    async def stop(self) -> None:
        """Let reconciles in progress finish, for `drain_seconds` at most, then give the Lease back."""
        self._active = False
        self.queue.close()
        deadline = time.monotonic() + self._settings.drain_seconds
        while self.queue.busy() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self._poller.close()
        self._surveyor.close()
        self._asker.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._lease is not None:
            await self._lease.release()
        self._metrics.active.set(0)

    def problem(self) -> str | None:
        """Why this process should be restarted, if it should."""
        dead = [task.get_name() for task in self._tasks if task.done()]
        if dead:
            return f"not running: {', '.join(dead)}"
        overdue = 3 * self._settings.resync_seconds
        if self._synced_at is not None and time.monotonic() - self._synced_at > overdue:
            return f"nothing could be listed for {overdue:.0f} seconds"
        return None

    def unready(self) -> str | None:
        """Why this replica could not take over or work now, if so. A standby with warm caches is ready."""
        return None if self._synced_at is not None else "the first listing is not done"

    # -- background work

    async def _supervise(self) -> None:
        await self._first_resync()
        self._tasks.append(asyncio.create_task(self._resyncs(), name="resync"))
        if self._lease is not None:
            await self._lease.acquire()
            # From now on, and not after a listing that may take longer than the Lease lasts.
            self._tasks.append(asyncio.create_task(self._keep(self._lease), name="lease"))
            # What the cache missed while this replica stood by must not be acted on.
            await self._first_resync()
            if not self._lease.held:
                return
        self._active = True
        self._metrics.active.set(1)
        for number in range(self._settings.workers):
            self._tasks.append(asyncio.create_task(self._work(), name=f"worker {number}"))
        logger.info("active", extra={"workers": self._settings.workers, "resources": len(self.store.known(RESOURCE))})
        await asyncio.Event().wait()

    async def _keep(self, lease: LeaseLock) -> None:
        """Hold on to the Lease; without it this replica does nothing more and its process ends."""
        await lease.keep()
        self._active = False
        self._metrics.active.set(0)
        self._give_up()

    async def _served(self) -> bool:
        try:
            return await self._client.served(RESOURCE)
        except ApiError as error:
            logger.warning("the Kubernetes API is out of reach: %s", error.message)
            return False

    async def _first_resync(self) -> None:
        while not await self._resync():
            await asyncio.sleep(self._settings.backoff_seconds)

    async def _resyncs(self) -> None:
        """List everything now and then, and soon after any watch had to start anew."""
        while True:
            try:
                await asyncio.wait_for(self._relist.wait(), self._settings.resync_seconds)
                await asyncio.sleep(_RELIST_PAUSE)
            except TimeoutError:
                pass
            self._relist.clear()
            if not await self._resync():
                self._relist.set()

    async def _resync(self) -> bool:
        """List all kinds and have every resource looked at; false where the API server does not answer."""
        try:
            for kind in WATCHED:
                for namespace in self._settings.namespaces or (None,):
                    before = {
                        ref: body
                        for ref, body in self.store.known(kind).items()
                        if namespace is None or ref[0] == namespace
                    }
                    self.store.replace(kind, await self._client.list(kind, namespace, kind.selector), before)
        except ApiError as error:
            logger.warning("resync failed: %s", error.message)
            return False
        self._synced_at = time.monotonic()
        self._metrics.synced.set_to_current_time()
        for uid in self.store.uids():
            self._touched(uid)
        return True

    def _touched(self, uid: str) -> None:
        if uid:
            self.queue.add(uid)

    async def _work(self) -> None:
        while True:
            uid = await self.queue.take()
            try:
                if self._active:
                    await self._reconcile(uid)
            finally:
                self.queue.done(uid)

    async def _reconcile(self, uid: str) -> None:
        """One reconcile and what follows from it. An error that nobody foresaw is logged with its trace, costs
        this resource a pause, and others nothing."""
        began = time.monotonic()
        [outcome] = await asyncio.gather(self._reconciler.reconcile(uid), return_exceptions=True)
        if isinstance(outcome, BaseException):
            self._complain(uid, outcome)
            outcome = Outcome("unavailable" if isinstance(outcome, ApiError) else "error", retry=True)
        self._metrics.reconcile_seconds.observe(time.monotonic() - began)
        self._metrics.reconciles.labels(outcome.result).inc()
        self._metrics.status_writes.inc(int(outcome.wrote))
        if outcome.retry:
            self.queue.retry(uid)
        else:
            self.queue.forgive(uid)
        if outcome.again is not None:
            self.queue.add_later(uid, outcome.again)

    def _complain(self, uid: str, error: BaseException) -> None:
        meta = (self.store.resource(uid) or {}).get("metadata", {})
        where = {"namespace": meta.get("namespace", ""), "resource": meta.get("name", ""), "uid": uid}
        if isinstance(error, ApiError):
            logger.warning("reconcile put off: %s", error.message, extra=where)
        else:
            logger.error("reconcile failed", extra=where, exc_info=error)
