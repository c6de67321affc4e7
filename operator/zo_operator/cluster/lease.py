"""One active replica, by a Lease: the others stand by with warm caches and take over when it falls silent.

The holder's clock is never compared with ours: a lease counts as expired when its `renewTime` has not changed
for its whole duration by our own clock. A holder that cannot renew in time gives up before another may take
over, and ends; its pod starts again as a standby.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from zo_operator.cluster.client import Client
from zo_operator.cluster.kinds import LEASE
from zo_operator.errors import ApiError, Conflict, NotFound
from zo_operator.manifests.metadata import Object
from zo_operator.settings import Settings

logger = logging.getLogger(__name__)

_MICROTIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class LeaseLock:
    """Acquires and renews one Lease."""

    def __init__(self, client: Client, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._settings, self._clock = client, settings, clock
        self._seen: tuple[str, str] = ("", "")
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self.held = False

    async def acquire(self) -> None:
        """Wait until this replica holds the Lease."""
        while not await self._try():
            await asyncio.sleep(self._settings.lease_seconds / 5)
        self.held = True
        logger.info("lease %s acquired", self._settings.lease_name)

    async def keep(self) -> None:
        """Renew until it fails for two thirds of the Lease's duration, or another holds it; then return.

        Begin at once after `acquire`: others count from there on.
        """
        while (left := self._renewed_at + self._settings.lease_seconds * 2 / 3 - self._clock()) > 0:
            if not await self._try_for(left) and self._seen[0] not in ("", self._settings.identity):
                break
            await asyncio.sleep(self._settings.lease_seconds / 7)
        self.held = False
        logger.error("lease %s lost", self._settings.lease_name)

    async def release(self) -> None:
        """Let another replica take over at once. A failure is no harm: the Lease expires by itself."""
        if not self.held:
            return
        self.held = False
        try:
            lease = await self._read()
            if lease is not None and lease["spec"].get("holderIdentity") == self._settings.identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.replace(LEASE, lease)
        except ApiError as error:
            logger.warning("lease not released: %s", error.message)

    async def _try_for(self, seconds: float) -> bool:
        """One attempt, given up in time: a server that does not answer must not make a holder of the past of us."""
        try:
            return await asyncio.wait_for(self._try(), seconds)
        except TimeoutError:
            logger.warning("lease not reached: no answer for %.1f seconds", seconds)
            return False

    async def _try(self) -> bool:
        """One attempt to take or renew the Lease; true when it is ours."""
        # Others may see the renewal as soon as it is sent, and count from then.
        began = self._clock()
        try:
            lease = await self._read()
            if lease is None:
                await self._client.create(LEASE, self._new())
            elif self._free(lease):
                await self._client.replace(LEASE, self._taken(lease))
            else:
                return False
        except Conflict:
            return False
        except ApiError as error:
            logger.warning("lease not reached: %s", error.message)
            return False
        self._renewed_at = began
        return True

    async def _read(self) -> Object | None:
        try:
            return await self._client.get(LEASE, self._settings.lease_namespace, self._settings.lease_name)
        except NotFound:
            return None

    def _free(self, lease: Object) -> bool:
        """Whether it is ours already, nobody's, or expired."""
        spec = lease.get("spec") or {}
        holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
        if (holder, renewed) != self._seen:
            self._seen, self._seen_at = (holder, renewed), self._clock()
        expired = self._clock() - self._seen_at > float(spec.get("leaseDurationSeconds") or 0)
        return holder in ("", self._settings.identity) or expired

    def _new(self) -> Object:
        meta = {"name": self._settings.lease_name, "namespace": self._settings.lease_namespace}
        body: Object = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": meta, "spec": {}}
        return self._taken(body)

    def _taken(self, lease: Object) -> Object:
        now = datetime.now(UTC).strftime(_MICROTIME)
        spec = dict(lease.get("spec") or {})
        if spec.get("holderIdentity") != self._settings.identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec |= {
            "holderIdentity": self._settings.identity,
            "leaseDurationSeconds": max(1, round(self._settings.lease_seconds)),
            "renewTime": now,
        }
        return {**lease, "spec": spec}
