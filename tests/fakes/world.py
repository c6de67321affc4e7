"""The real operator, kopf and all, in the test's own process and event loop, against a fake API server."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kmock
import yaml

from fakes.kube import FakeKube
from fakes.kube_store import Object
from fakes.kube_workloads import Workloads
from zo_operator.application import Application
from zo_operator.handlers import operate
from zo_operator.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = Settings(
    host="127.0.0.1",
    health_port=0,
    metrics_port=0,
    poll_seconds=0.05,
    backoff_seconds=0.05,
    backoff_limit_seconds=0.2,
    drain_seconds=2.0,
    workers=4,
)
# A machine with much else to do takes its time; what comes is not waited for any longer than it takes.
PATIENCE = 60.0


def manifest(name: str = "sst2", **spec: Any) -> Object:
    """A small valid resource; `spec` replaces parts of its spec."""
    base: Object = {
        "model": {"name": "HuggingFaceTB/SmolLM2-135M-Instruct"},
        "data": {"train": {"uri": "s3://data/sst2.jsonl"}},
        "objective": {"classification": {"prompt": "{text} It was", "labels": {"0": " terrible", "1": " great"}}},
        "optimizer": {"steps": 100},
        "storage": {"uri": "s3://logs/sst2", "s3": {"secretRef": "s3"}},
    }
    return {
        "apiVersion": "zofinetune.io/v1alpha1",
        "kind": "ZOFineTune",
        "metadata": {"name": name, "namespace": "default"},
        "spec": base | copy.deepcopy(spec),
    }


class Replica:
    """One operator process: started, stopped gracefully, or killed.

    It has a thread and an event loop of its own, because kopf cancels whatever runs in its loop when it ends.
    """

    def __init__(self, world: World, user: str, settings: Settings) -> None:
        self.user, self._world, self._settings = user, world, settings
        self.app: Application | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._killed = self._told = False
        self._listening, self._thread = threading.Event(), threading.Thread(target=self._main, name=user, daemon=True)

    async def start(self) -> None:
        """Start, and return when the ports are open."""
        self._thread.start()
        await asyncio.to_thread(self._listening.wait, PATIENCE)

    @property
    def gave_up(self) -> bool:
        """Whether it has ended by itself, because it may not work any more."""
        return not self._told and not self._thread.is_alive() and self.app is not None and self.app.failed

    def anew(self) -> Replica:
        """Another process of the same pod."""
        return Replica(self._world, self.user, self._settings)

    async def ended(self) -> None:
        """Wait until it ends by itself."""
        await asyncio.to_thread(self._thread.join, PATIENCE)
        assert not self._thread.is_alive(), f"{self.user} does not end"

    async def stop(self) -> None:
        """What SIGTERM does."""
        self._told = True
        if self._thread.is_alive() and self._loop is not None and self.app is not None:
            self._loop.call_soon_threadsafe(self.app.stopping.set)
        await self.ended()

    async def kill(self) -> None:
        """What SIGKILL does, as far as the cluster can tell: nothing more comes from this process.

        It ends in good order all the same. Cancelled half-way, it would leave its sockets to whichever test the
        garbage collector runs in next; the cluster has stopped listening to it, so nobody sees the difference.
        """
        self._killed = True
        self._world.kube.refused_users.add(self.user)
        await self.stop()

    def _main(self) -> None:
        try:
            asyncio.run(self._operate())
        except AssertionError:  # aiohttp's, on a session that kopf closed for good because its user is refused
            if not self._killed:
                raise

    async def _operate(self) -> None:
        self._loop = asyncio.get_running_loop()
        home = self._world
        self.app = Application(self._settings, lambda: home.kube.login(self.user), home.workloads, home.now)
        await operate(self.app, self._listening.set)


class World:
    """A fake cluster with an operator in it."""

    def __init__(self, kube: FakeKube, settings: Settings = SETTINGS) -> None:
        self.kube, self.settings = kube, settings
        self.workloads = Workloads(kube)
        self.replicas: list[Replica] = []
        self._ticker: asyncio.Task[None] | None = None
        self.ahead = timedelta(0)

    async def operator(self, **changes: Any) -> Replica:
        """Start another replica of the operator."""
        replica = Replica(self, f"operator-{len(self.replicas)}", dataclasses.replace(self.settings, **changes))
        self.replicas.append(replica)
        await replica.start()
        return replica

    def now(self) -> datetime:
        """The operators' clock."""
        return datetime.now(UTC) + self.ahead

    def jump(self, to: datetime) -> None:
        """Set the operators' clock, and have them look at it."""
        self.ahead = to - datetime.now(UTC)
        for item in self.kube.store.all("zofinetunes"):
            edited = {"metadata": {"annotations": {"test/clock": str(to)}}}
            self.kube.edit("zofinetunes", item["metadata"]["name"], edited)

    def resource(self, name: str = "sst2") -> Object:
        """The resource as stored."""
        found = self.kube.find("zofinetunes", name)
        assert found is not None, f"{name} is gone"
        return found

    def status(self, name: str = "sst2") -> Object:
        """Its status, empty before the first."""
        return dict(self.resource(name).get("status") or {})

    def condition(self, kind: str, name: str = "sst2") -> tuple[str, str]:
        """Status and reason of a condition."""
        found = {c["type"]: c for c in self.status(name).get("conditions", ())}
        return (found[kind]["status"], found[kind]["reason"]) if kind in found else ("", "")

    def job(self, name: str = "sst2") -> Object | None:
        """The Job of the current round."""
        rounds = self.status(name).get("rounds") or ()
        return self.kube.find("jobs", rounds[0]["job"]) if rounds else None

    def events(self) -> list[tuple[str, str]]:
        """Type and reason of every Event, in the order of their making."""
        return [(event["type"], event["reason"]) for event in self.kube.store.all("events")]

    async def until(self, ready: Callable[[], Any], what: str = "") -> Any:
        """Wait for something to hold, and return it."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not (found := ready()):
            if asyncio.get_running_loop().time() > deadline:
                shown = yaml.safe_dump([item.get("status") for item in self.kube.store.all("zofinetunes")])
                raise AssertionError(f"waited in vain for {what or ready}:\n{shown}\n{self.events()}")
            await asyncio.sleep(0.01)
        return found

    async def phase(self, wanted: str, name: str = "sst2") -> None:
        """Wait for a phase that speaks of the latest spec."""

        def reached() -> bool:
            status, meta = self.status(name), self.resource(name)["metadata"]
            return status.get("phase") == wanted and status.get("observedGeneration") == meta["generation"]

        await self.until(reached, f"phase {wanted}")

    async def pod(self, number: int = 1, name: str = "sst2") -> Object:
        """Wait for the n-th pod of the current round's Job, and return it."""

        def found() -> Object | None:
            job = self.job(name)
            pods = self.workloads.pods(job["metadata"]["name"]) if job else []
            return pods[number - 1] if len(pods) >= number else None

        pod: Object = await self.until(found, f"pod {number}")
        return pod

    async def probe(self, name: str = "sst2") -> Object:
        """Wait for the pod that looks at the data, and return it."""

        def found() -> Object | None:
            for job in self.kube.store.all("jobs"):
                labels, ended = job["metadata"]["labels"], job.get("status", {}).get("conditions")
                mine = labels["app.kubernetes.io/instance"] == name
                if mine and labels["app.kubernetes.io/component"] == "probe" and not _over(ended):
                    return next(iter(self.workloads.pods(job["metadata"]["name"])), None)
            return None

        pod: Object = await self.until(found, "a look at the data")
        return pod

    async def quiet(self, seconds: float = 0.4) -> int:
        """Let the world be for a while; return the number of writes in that time."""
        before = len(self.kube.writes)
        await asyncio.sleep(seconds)
        return len(self.kube.writes) - before

    async def restart_forever(self) -> None:
        """What a kubelet does: a container that has ended by itself starts again."""
        while True:
            for number, replica in enumerate(self.replicas):
                if replica.gave_up:
                    self.replicas[number] = replica.anew()
                    await self.replicas[number].start()
            await asyncio.sleep(0.05)

    async def tick_forever(self) -> None:
        while True:
            self.workloads.tick()
            await asyncio.sleep(0.01)


def _over(conditions: list[Object] | None) -> bool:
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions or ())


@contextlib.asynccontextmanager
async def world(
    settings: Settings = SETTINGS, *, operator: bool = True, restarts: bool = False
) -> AsyncIterator[World]:
    """A cluster with one operator; everything is stopped at the end. With `restarts`, operators that give up start
    again."""
    async with FakeKube() as kube, kmock.Server(kube):
        made = World(kube, settings)
        ticker = asyncio.create_task(made.tick_forever())
        kubelet = asyncio.create_task(made.restart_forever()) if restarts else ticker
        try:
            if operator:
                await made.operator()
            yield made
            for task in (ticker, kubelet):
                assert not task.done(), task.exception()
        finally:
            if restarts:
                kubelet.cancel()
                await asyncio.wait({kubelet})
            for replica in made.replicas:
                await replica.stop()
            ticker.cancel()
            await asyncio.wait({ticker})
