"""One model name that a replica serves: its desired state, and the actions that `plan` decides on, carried out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from zo_runtime.config.storage import S3
from zo_runtime.errors import InvalidSpec, ZOError
from zo_runtime.serving.attempts import Attempts, failure
from zo_runtime.serving.builder import Builder
from zo_runtime.serving.building import Building
from zo_runtime.serving.contract import (
    DesiredState,
    Failure,
    ServedAdapter,
    ServedTarget,
    State,
    Target,
    target_for,
)
from zo_runtime.serving.engine import Adapter, Engine
from zo_runtime.serving.loaded import LoadedVersions
from zo_runtime.serving.manifest import version_label
from zo_runtime.serving.metrics import ServingMetrics
from zo_runtime.serving.plan import Build, Stop, Switch, Unload, View, Wait, plan
from zo_runtime.serving.settings import ServingSettings

log = logging.getLogger("vllm.zofinetune")


@dataclass(frozen=True, slots=True)
class Room:
    """What every followed model works with. `wake` has the follower look again at once."""

    settings: ServingSettings
    engine: Engine
    builder: Builder
    metrics: ServingMetrics
    wake: Callable[[], None]
    clock: Callable[[], float] = time.monotonic


class FollowedModel:
    """`set_desired`, then `act`, again and again; `build` and `answer` at any time on the same event loop."""

    def __init__(self, name: str, room: Room):
        self.name = name
        self._room = room
        self._desired: DesiredState | None = None
        self._target: Target | None = None
        self._problem: Failure | None = None
        self._seen_at = room.clock()
        self._attempts = Attempts()
        self._loaded = LoadedVersions(name, room.engine, room.clock)
        self._building = Building(room.settings, room.engine, room.builder, self._on_build)

    @property
    def settled(self) -> bool:
        """Whether nothing is under way: it is served, or it failed and waits for the next attempt."""
        return self._state() not in ("Pending", "Preparing")

    @property
    def over(self) -> bool:
        """Whether there is nothing to follow: nothing is desired, and nothing is loaded."""
        nothing = self._target is None and self._problem is None
        return nothing and self._loaded.served is None and not self._loaded.draining()

    def set_desired(self, desired: DesiredState | None, problem: InvalidSpec | None) -> None:
        """Take over what the file says now. With a problem, what it said before goes on to hold."""
        if problem is not None:
            if self._problem is None or self._problem.message != str(problem):
                self._problem = failure(problem)
                self._note(problem)
            return
        target = None if desired is None else target_for(desired, self._room.settings.pod)
        if target != self._target:
            self._seen_at = self._room.clock()
        if target != self._target or _way(desired) != _way(self._desired):
            self._attempts.forget()
        self._problem, self._desired, self._target = None, desired, target

    async def act(self) -> None:
        """Do what there is to do now."""
        while not isinstance(action := plan(self._view(), self._room.clock()), Wait):
            match action:
                case Build():
                    self._start_build()
                case Stop():
                    await self._building.stop()
                case Switch():
                    await self._switch()
                case Unload(version):
                    await self._unload(version)
        self._measure()

    async def build(self) -> Adapter | None:
        """The wanted version for the engine's own resolver, built by whoever asked first; None if it fails."""
        while True:
            view = self._view()
            if view.wanted is None or (view.failed == view.wanted and self._room.clock() < view.retry_at):
                return None
            if (adapter := self._loaded.get(view.wanted)) is not None:
                return adapter
            if view.wanted == view.built and self._building.done is not None:
                return self._building.done[0]
            if view.building is None:
                self._start_build()
            await self._building.wait()

    async def close(self) -> None:
        """Stop building and give up every claim."""
        await self._building.stop()
        self._loaded.close()

    def answer(self) -> ServedAdapter:
        """What `GET /zo/v1/adapters` says of this name."""
        self._loaded.look()
        served, target = self._loaded.served, self._target
        manifest = None if served is None else served.adapter.manifest
        return ServedAdapter(
            name=self.name,
            state=self._state(),
            version=None if manifest is None else manifest.version,
            step=None if manifest is None else manifest.step,
            digest=None if manifest is None else manifest.digest,
            since=None if served is None else served.since,
            uri=None if served is None else served.adapter.uri,
            target=None if target is None else ServedTarget(**target.model_dump()),
            last_error=self._problem or self._attempts.error,
        )

    @property
    def _served(self) -> str | None:
        return None if self._loaded.served is None else self._loaded.served.adapter.label

    def _state(self) -> State:
        if self._problem is not None or self._attempts.error is not None:
            return "Failed"
        if self._target is None:
            return "Orphaned"
        if self._served == version_label(self._target):
            return "Serving"
        return "Pending" if self._building.under_way is None and self._building.done is None else "Preparing"

    def _view(self) -> View:
        done = self._building.done
        if done is not None and self._loaded.is_served(done[0]):  # the resolver was faster
            self._building.take()
            self._loaded.adopt(*done)
            self._on_switch(done[0])
        self._loaded.look()
        return View(
            wanted=None if self._target is None else version_label(self._target),
            served=self._served,
            building=self._building.under_way,
            built=None if self._building.done is None else self._building.done[0].label,
            failed=self._attempts.failed,
            retry_at=self._attempts.retry_at,
            draining=self._loaded.draining(),
            slots=self._room.engine.slots,
        )

    def _start_build(self) -> None:
        assert self._desired is not None
        assert self._target is not None
        self._building.start(self._desired, self._target)

    def _on_build(self, version: str, error: ZOError | None) -> None:
        if error is not None:
            self._fail(version, error)
        self._room.wake()

    async def _switch(self) -> None:
        assert self._target is not None
        version, hold = version_label(self._target), None
        adapter, began = self._loaded.get(version), self._room.clock()
        if adapter is None:
            assert self._building.done is not None
            adapter, hold = self._building.done
        try:
            await self._loaded.switch(adapter, hold)
        except ZOError as error:
            self._building.drop()  # the next attempt verifies what is on the disk anew
            self._fail(version, error)
            return
        if hold is not None:
            self._building.take()
            self._room.metrics.load_seconds.labels(self.name).observe(self._room.clock() - began)
        self._on_switch(adapter)

    async def _unload(self, version: str) -> None:
        try:
            await self._loaded.unload(version)
        except ZOError as error:
            log.warning("%s: %s could not be unloaded: %s", self.name, version, error)

    def _on_switch(self, adapter: Adapter) -> None:
        self._attempts.forget()
        seconds = self._room.clock() - self._seen_at
        self._room.metrics.swaps.labels(self.name).inc()
        self._room.metrics.swap_seconds.labels(self.name).observe(seconds)
        log.info("%s: %s answers, %.1f s after it was first desired", self.name, adapter.label, seconds)

    def _fail(self, version: str, error: ZOError) -> None:
        self._attempts.fail(version, error, self._room.clock())
        self._note(error)

    def _note(self, error: ZOError) -> None:
        self._room.metrics.failures.labels(self.name, error.reason).inc()
        log.warning("%s: %s; what was served before is served on", self.name, error)

    def _measure(self) -> None:
        metrics, served = self._room.metrics, self._loaded.served
        if served is not None:
            metrics.version.labels(self.name).set(served.adapter.manifest.version)
            metrics.step.labels(self.name).set(served.adapter.manifest.step)
        metrics.converged.labels(self.name).set(self._state() == "Serving")
        if self._target is not None:
            metrics.age.labels(self.name).set(self._room.clock() - self._seen_at)


def _way(desired: DesiredState | None) -> tuple[str, S3] | None:
    """Where the log is, and how it is reached."""
    return None if desired is None else (desired.uri, desired.s3)
