"""One reconcile: look, plan, carry out, store the status. The shell around `plan`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from zo_operator.cluster.executor import ActionFailed, Executor
from zo_operator.cluster.progress import ProgressReader
from zo_operator.cluster.store import Store
from zo_operator.errors import Conflict, Forbidden, NotFound, Refused
from zo_operator.reconcile import pods as podfacts
from zo_operator.reconcile import removal
from zo_operator.reconcile.observed import Defaults, Emit, Observed, Plan, Refusal, Resource
from zo_operator.reconcile.plan import plan
from zo_operator.settings import Settings
from zo_runtime.progress import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reconcile went. `after` asks for another one after that many seconds; `retry` for one after a pause
    that grows; `wrote` says whether the status was written."""

    result: str
    after: float | None = None
    retry: bool = False
    wrote: bool = False


@dataclass(slots=True)
class _Reading:
    pod: str
    at: float
    progress: Progress | None


class Reconciler:
    """Reconciles resources by uid. It remembers only when a run was last asked for its progress."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        reader: ProgressReader,
        settings: Settings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._executor, self._reader, self._settings, self._now = store, executor, reader, settings, now
        self._defaults = Defaults(runtime_image=settings.runtime_image)
        self._readings: dict[str, _Reading] = {}

    async def reconcile(self, uid: str) -> Outcome:
        """Bring one resource closer to its spec.

        Raises:
            ApiError: the API server is out of reach: try again later.
        """
        raw = self._store.resource(uid)
        if raw is None:
            self._readings.pop(uid, None)
            return await self._remove_log(uid)
        resource = Resource(raw)
        observed = self._store.observe(uid)
        if not resource.deleting:
            observed = replace(observed, progress=await self._progress(resource, observed))
        decided = plan(resource, observed, self._now(), self._defaults)
        if decided.refresh:
            observed = replace(observed, pods=await self._executor.live_pods(resource), live=True)
            decided = plan(resource, observed, self._now(), self._defaults)
        try:
            refusal = await self._carry_out(resource, decided)
            if refusal is not None:
                decided = plan(resource, replace(observed, refusal=refusal), self._now(), self._defaults)
                await self._tell(resource, decided)
            wrote = await self._store_status(resource, decided)
        except Conflict:
            # Something changed since it was read: its watch event is on the way, or here already.
            return Outcome("conflict", retry=True)
        except NotFound:
            return Outcome("gone", retry=True)
        if refusal is not None:
            return Outcome("refused", retry=not refusal.final, wrote=wrote)
        return Outcome("ok", after=self._settings.poll_seconds if decided.poll else None, wrote=wrote)

    async def _remove_log(self, uid: str) -> Outcome:
        """Of a resource that is gone, remove the log if its cleanup record says so."""
        observed = self._store.observe(uid)
        record = removal.find_record(observed)
        if record is None:
            return Outcome("gone")
        resource = removal.resource_of(record)
        if not await self._executor.is_gone(resource):
            return Outcome("gone", retry=True)
        taken = removal.in_use(record, self._store.resources())
        actions = removal.plan_removal(record, observed, taken=taken)
        try:
            refusal = await self._carry_out(resource, Plan(actions))
        except (Conflict, NotFound):
            return Outcome("conflict", retry=True)
        if refusal is not None:
            logger.error("log not removed: %s: %s", refusal.action, refusal.message)
        return Outcome("refused" if refusal else "ok", retry=refusal is not None)

    async def _carry_out(self, resource: Resource, decided: Plan) -> Refusal | None:
        """Carry out the actions in order, and stop at the first that is refused."""
        for action in decided.actions:
            try:
                await self._executor.carry_out(resource, action, self._now())
            except ActionFailed as failed:
                if isinstance(failed.error, Refused | Forbidden):
                    final = isinstance(failed.error, Refused)
                    return Refusal(failed.action, failed.error.reason, failed.error.message, final)
                raise failed.error from failed
        return None

    async def _tell(self, resource: Resource, decided: Plan) -> None:
        """Events only: the plan that was made after a refusal changes nothing else."""
        for action in decided.actions:
            if isinstance(action, Emit):
                await self._executor.carry_out(resource, action, self._now())

    async def _store_status(self, resource: Resource, decided: Plan) -> bool:
        if decided.status is None or decided.status.to_dict() == (resource.raw.get("status") or {}):
            return False
        await self._executor.write_status(resource, decided.status)
        return True

    async def _progress(self, resource: Resource, observed: Observed) -> Progress | None:
        """The leader's progress, asked for at most once in `poll_seconds`."""
        leader, url = self._leader(resource, observed)
        if leader is None or url is None:
            self._readings.pop(resource.uid, None)
            return None
        known, moment = self._readings.get(resource.uid), time.monotonic()
        if known is not None and known.pod == leader and moment - known.at < self._settings.poll_seconds * 0.9:
            return known.progress
        progress = await self._reader.read(url)
        self._readings[resource.uid] = _Reading(leader, moment, progress)
        return progress

    def _leader(self, resource: Resource, observed: Observed) -> tuple[str | None, str | None]:
        rounds = resource.status.rounds
        if not rounds or rounds[0].outcome is not None:
            return None, None
        pod = podfacts.leader(podfacts.of_job(observed.pods, rounds[0].job))
        port = ((resource.spec or {}).get("metrics") or {}).get("port", 9464)
        return (pod["metadata"]["uid"] if pod else None), podfacts.address(pod, port if isinstance(port, int) else 0)
