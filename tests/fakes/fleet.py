"""Serving replicas: pods of a user's own Deployment, each a small HTTP server at a loopback address of its own.

A replica reads the ConfigMap as if it were mounted, and switches at once, unless it is told to misbehave.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from aiohttp import web

from fakes.kube import FakeKube
from fakes.kube_store import Object
from zo_runtime.serving.contract import (
    ADAPTERS_ROUTE,
    DesiredState,
    Failure,
    ServedAdapter,
    ServedAdapters,
    ServedTarget,
    Target,
    target_for,
)

Behaviour = Literal["good", "failing", "frozen", "unmounted", "slow", "not-json", "no-plugin", "broken"]
LABELS = {"app": "vllm"}


def digest_of(target: Target) -> str:
    """The digest of a version's bank in these tests."""
    return f"{target.version:02d}{target.step or 0:04d}".ljust(64, "d")


def sha256_of(version: int) -> str:
    """The hash of a version's object in these tests."""
    return f"{version:02d}".ljust(64, "a")


@dataclass
class FakeReplica:
    """One replica. `served` is what it answers requests with."""

    name: str
    host: str
    behaviour: Behaviour = "good"
    served: Target | None = None
    seen: Target | None = None
    asked: int = 0
    runner: web.AppRunner | None = None

    def take(self, desired: DesiredState | None) -> None:
        """Read the mounted file, and switch."""
        if desired is None or self.behaviour in ("frozen", "unmounted"):
            return
        self.seen = target_for(desired, self.name)
        if self.behaviour != "failing":
            self.served = self.seen

    def answer(self, model: str) -> ServedAdapters:
        """What `GET /zo/v1/adapters` says."""
        if self.seen is None:
            return ServedAdapters(pod=self.name, adapters=())
        failed = self.behaviour == "failing" and self.served != self.seen
        now = datetime.now(UTC)
        served = self.served
        told = ServedAdapter(
            name=model,
            state="Failed" if failed else "Serving",
            version=served.version if served else None,
            step=7 if served else None,
            digest=digest_of(served) if served else None,
            since=now if served else None,
            uri="s3://logs/sst2",
            target=ServedTarget(version=self.seen.version, sha256=self.seen.sha256, step=self.seen.step),
            last_error=Failure(reason="LogCorrupt", message="a segment is damaged", at=now) if failed else None,
        )
        return ServedAdapters(pod=self.name, adapters=(told,))


@dataclass
class Fleet:
    """Replicas of one Deployment on one port."""

    kube: FakeKube
    port: int
    model: str = "sst2"
    config_map: str = "sst2-serving"
    api_key: str | None = None
    replicas: dict[str, FakeReplica] = field(default_factory=dict)
    _hosts: int = 10

    async def add(self, name: str, behaviour: Behaviour = "good") -> FakeReplica:
        """A pod starts."""
        self._hosts += 1
        replica = FakeReplica(name, f"127.0.0.{self._hosts}", behaviour)
        self.replicas[name] = replica
        await self.revive(replica)
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": dict(LABELS)},
            "spec": {},
            "status": {"phase": "Running", "podIP": replica.host},
        }
        self.kube.put(pod)
        return replica

    async def remove(self, name: str) -> None:
        """A pod goes."""
        await self.kill(self.replicas.pop(name))
        self.kube.discard("pods", name)

    async def kill(self, replica: FakeReplica) -> None:
        """The process ends; the pod stays."""
        runner, replica.runner = replica.runner, None
        if runner is not None:
            await runner.cleanup()

    async def revive(self, replica: FakeReplica) -> None:
        """The process starts, with nothing loaded."""
        replica.served = replica.seen = None
        app = web.Application()
        app.router.add_get(ADAPTERS_ROUTE, functools.partial(self._adapters, replica))
        replica.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await replica.runner.setup()
        await web.TCPSite(replica.runner, replica.host, self.port).start()

    def versions(self) -> dict[str, int | None]:
        """The version that each replica serves."""
        return {name: r.served.version if r.served else None for name, r in self.replicas.items()}

    def desired(self) -> DesiredState | None:
        """What the ConfigMap says now."""
        found = self.kube.find("configmaps", self.config_map)
        text = (found or {}).get("data", {}).get(f"{self.model}.json")
        return DesiredState.parse(text, "test") if text else None

    async def _adapters(self, replica: FakeReplica, request: web.Request) -> web.Response:
        replica.asked += 1
        if self.api_key is not None and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        match replica.behaviour:
            case "slow":
                await asyncio.sleep(5)
            case "not-json":
                return web.Response(text="<html>It works!</html>")
            case "no-plugin":
                return web.json_response({"detail": "Not Found"}, status=404)
            case "broken":
                return web.Response(status=500)
        replica.take(self.desired())
        return web.Response(
            text=replica.answer(self.model).model_dump_json(by_alias=True), content_type="application/json"
        )


@contextlib.asynccontextmanager
async def fleet(kube: FakeKube, count: int = 0, *, api_key: str | None = None) -> AsyncIterator[Fleet]:
    """Some replicas, `web-0` and so on, all stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Fleet(kube, port, api_key=api_key)
    try:
        for number in range(count):
            await made.add(f"web-{number}")
        yield made
    finally:
        for replica in made.replicas.values():
            await made.kill(replica)
