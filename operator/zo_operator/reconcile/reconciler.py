"""One reconcile: look, plan, carry out, store the status. The shell around `plan`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from zo_operator.cluster.asker import Asker
from zo_operator.cluster.executor import ActionFailed, Executor
from zo_operator.cluster.poller import Poller
from zo_operator.cluster.store import Store
from zo_operator.cluster.surveyor import Surveyor
from zo_operator.errors import Conflict, Forbidden, NotFound, Refused
from zo_operator.reconcile import removal
from zo_operator.reconcile.observed import Defaults, Emit, Plan, Refusal, Resource
from zo_operator.reconcile.plan import plan
from zo_operator.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reconcile went. `retry` asks for another one after a pause that grows; `wrote` says whether the status
    was written; `again` is when to look again if nothing else happens, in seconds."""

    result: str
    retry: bool = False
    wrote: bool = False
    again: float | None = None


def present() -> datetime:
    """The present moment by this machine's clock."""
    return datetime.now(UTC)


class Reconciler:
    """Reconciles resources by uid. It remembers nothing: the store and the stored statuses do."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        poller: Poller,
        surveyor: Surveyor,
        asker: Asker,
        settings: Settings,
        now: Callable[[], datetime] = present,
    ) -> None:
        self._store, self._executor, self._now = store, executor, now
        self._poller, self._surveyor, self._asker = poller, surveyor, asker
        self._defaults = Defaults(runtime_image=settings.runtime_image)

    async def reconcile(self, uid: str) -> Outcome:
        """Bring one resource closer to its spec.

        Raises:
            ApiError: the API server is out of reach: try again later.
        """
        raw = self._store.resource(uid)
        if raw is None:
            self._poller.follow(uid, None)
            self._surveyor.follow(uid, None)
            self._asker.follow(uid, ())
            return await self._remove_log(uid)
        resource = Resource(raw)
        observed = replace(
            self._store.observe(uid),
            reading=self._poller.latest(uid),
            survey=self._surveyor.latest(uid),
            replies=self._asker.latest(uid),
        )
        decided = plan(resource, observed, self._now(), self._defaults)
        if decided.refresh:
            observed = replace(observed, pods=await self._executor.live_pods(resource), live=True)
            decided = plan(resource, observed, self._now(), self._defaults)
        self._poller.follow(uid, decided.leader)
        self._surveyor.follow(uid, decided.follow)
        self._asker.follow(uid, decided.ask)
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
            return Outcome("refused", retry=not refusal.final, wrote=wrote, again=decided.again)
        return Outcome("ok", wrote=wrote, again=decided.again)

    async def _remove_log(self, uid: str) -> Outcome:
        """Of a resource that is gone, remove the log if its cleanup record says so."""
        observed = self._store.observe(uid)
        record = removal.find_record(observed)
        if record is None:
            return Outcome("gone")
        resource = removal.resource_of(record)
        if not await self._executor.is_gone(resource):
            return Outcome("gone", retry=True)
        if (name := removal.failed_job(observed)) is not None:
            remedy = "delete the Job to try again, or the ConfigMap of that name to keep the log"
            logger.error("log %s not removed: Job %s failed: %s", removal.log_uri(record), name, remedy)
            return Outcome("refused")
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
