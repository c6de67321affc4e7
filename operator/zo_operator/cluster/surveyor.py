"""Finding and asking the serving replicas of every resource, now and then, beside the reconciles.

Pods are found by label at the API server, so that nothing has to watch pods that are not the operator's. A replica
that misses one question is taken at its last word; one that misses two counts as silent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from zo_operator.cluster.client import Client
from zo_operator.cluster.kinds import POD
from zo_operator.cluster.replicas import ReplicaReader
from zo_operator.cluster.secrets import read_secret
from zo_operator.errors import ApiError, Unavailable
from zo_operator.manifests.metadata import Object
from zo_operator.reconcile import pods as podfacts
from zo_operator.reconcile.replicas import Follow, Problem, Replica, Survey, relevant

logger = logging.getLogger(__name__)

# Questions at the same time.
_PARALLEL = 64
_SILENT = frozenset({"Unreachable", "TimedOut"})
_UNAUTHORIZED = "Unauthorized"
_KEY_FIELD = "spec.serving.apiKeySecretRef"


@dataclass(slots=True)
class _Watch:
    follow: Follow
    survey: Survey | None = None
    api_key: str | None = None
    last: dict[str, Replica] = field(default_factory=dict)
    """The last answer of each pod, by uid, as long as it has missed no question since."""
    task: asyncio.Task[None] | None = None


class Surveyor:
    """Follows replicas by resource. `touched` is called with the uid whose replicas have something new to say."""

    def __init__(self, client: Client, reader: ReplicaReader, seconds: float, touched: Callable[[str], None]) -> None:
        self._client, self._reader, self._seconds, self._touched = client, reader, seconds, touched
        self._watches: dict[str, _Watch] = {}
        self._free = asyncio.Semaphore(_PARALLEL)

    def follow(self, uid: str, follow: Follow | None) -> None:
        """Ask those replicas from now on, and no others; none: ask nobody."""
        known = self._watches.get(uid)
        if known is not None and known.follow == follow:
            return
        if known is not None:
            if known.task is not None:
                known.task.cancel()
            del self._watches[uid]
        if follow is not None:
            watch = self._watches[uid] = _Watch(follow)
            watch.task = asyncio.create_task(self._survey(uid, watch))

    def latest(self, uid: str) -> Survey | None:
        """What was found last."""
        known = self._watches.get(uid)
        return known.survey if known is not None else None

    def close(self) -> None:
        """Ask nobody any more."""
        for uid in list(self._watches):
            self.follow(uid, None)

    async def _survey(self, uid: str, watch: _Watch) -> None:
        while True:
            found = await self._look(watch)
            if found is not None and found != watch.survey:
                watch.survey = found
                self._touched(uid)
            await asyncio.sleep(self._seconds)

    async def _look(self, watch: _Watch) -> Survey | None:
        """One survey; none where the API server does not answer, which says nothing of the replicas."""
        follow = watch.follow
        try:
            if follow.api_key is not None and watch.api_key is None:
                key = await read_secret(self._client, follow.namespace, *follow.api_key, _KEY_FIELD)
                if isinstance(key, Problem):
                    return Survey(follow, problem=key)
                watch.api_key = key
            pods = await self._client.list(POD, follow.namespace, follow.selector)
        except Unavailable as error:
            logger.warning("replicas not listed: %s", error.message, extra={"namespace": follow.namespace})
            return None
        except ApiError as error:
            return Survey(follow, problem=Problem(error.reason, error.message))
        there = [pod for pod in pods if podfacts.alive(pod) and "deletionTimestamp" not in pod["metadata"]]
        replicas = await asyncio.gather(*(self._ask(watch, pod) for pod in there))
        watch.last = {uid: replica for uid, replica in watch.last.items() if uid in map(_uid, there)}
        if any(replica.problem and replica.problem.reason == _UNAUTHORIZED for replica in replicas):
            watch.api_key = None  # the Secret may have changed: read it again
        return Survey(follow, tuple(sorted(replicas, key=lambda replica: replica.pod)))

    async def _ask(self, watch: _Watch, pod: Object) -> Replica:
        name, uid, host = pod["metadata"]["name"], _uid(pod), pod.get("status", {}).get("podIP")
        held = podfacts.waiting([pod]) or podfacts.held_back(pod)
        if not host or podfacts.phase(pod) != "Running":
            return Replica(name, problem=Problem(held.reason, held.message) if held else _PENDING)
        async with self._free:
            answer = await self._reader.read(host, watch.follow.port, watch.api_key)
        if isinstance(answer, Problem):
            last = watch.last.pop(uid, None)
            if last is not None and answer.reason in _SILENT:
                return last
            return Replica(name, problem=Problem(held.reason, held.message) if held else answer)
        watch.last[uid] = Replica(name, relevant(answer, watch.follow.model), host=host)
        return watch.last[uid]


_PENDING = Problem("Pending", "the pod has not started yet")


def _uid(pod: Object) -> str:
    return str(pod["metadata"]["uid"])
