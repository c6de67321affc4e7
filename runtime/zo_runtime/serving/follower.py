"""Follows the folder of desired states for as long as the server runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from zo_runtime.errors import StorageError
from zo_runtime.serving.builder import Builder
from zo_runtime.serving.contract import FORMAT_VERSION, ServedAdapters
from zo_runtime.serving.desired import Reading, read_desired
from zo_runtime.serving.engine import Adapter, Engine
from zo_runtime.serving.followed import FollowedModel, Room
from zo_runtime.serving.metrics import ServingMetrics
from zo_runtime.serving.settings import ServingSettings

log = logging.getLogger("vllm.zofinetune")
# Seconds between two looks at the desired state.
POLL_SECONDS = 0.5


class Follower:
    """Serves what the desired state says. All methods belong to one event loop."""

    def __init__(
        self,
        settings: ServingSettings,
        engine: Engine,
        builder: Builder,
        metrics: ServingMetrics,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._settings = settings
        self._woken = asyncio.Event()
        self._room = Room(settings, engine, builder, metrics, self._woken.set, clock)
        self._models: dict[str, FollowedModel] = {}
        self._unreadable: str | None = None
        self.settled = asyncio.Event()
        """Set once every name that was desired at the start is served or has failed."""

    async def run(self) -> None:
        """Go on until cancelled."""
        try:
            while True:
                await self.tick()
                try:
                    await asyncio.wait_for(self._woken.wait(), POLL_SECONDS)
                except TimeoutError:
                    continue
        finally:
            for model in self._models.values():
                await model.close()
            await self._room.builder.close()

    async def tick(self) -> None:
        """Read the desired states, and do what there is to do."""
        self._woken.clear()
        if (reading := await self._read()) is not None:
            self._take_over(reading)
        for model in list(self._models.values()):
            await model.act()
            if model.over:
                del self._models[model.name]
        if self._unreadable is None and all(model.settled for model in self._models.values()):
            self.settled.set()

    async def resolve(self, name: str) -> Adapter | None:
        """The wanted version of a name for an engine that was asked for it and does not have it yet."""
        if name not in self._models and (reading := await self._read()) is not None:
            self._take_over(reading)
        return await self._models[name].build() if name in self._models else None

    def answer(self) -> ServedAdapters:
        """What `GET /zo/v1/adapters` says."""
        adapters = tuple(self._models[name].answer() for name in sorted(self._models))
        return ServedAdapters(format_version=FORMAT_VERSION, pod=self._settings.pod, adapters=adapters)

    async def _read(self) -> Reading | None:
        """The desired states; None where they cannot be read, and then those from before hold."""
        try:
            reading = await asyncio.to_thread(read_desired, self._settings.desired)
        except StorageError as error:
            if str(error) != self._unreadable:
                log.warning("%s", error)
            self._unreadable = str(error)
            return None
        self._unreadable = None
        return reading

    def _take_over(self, reading: Reading) -> None:
        for name in {*reading.states, *reading.problems} - self._models.keys():
            self._models[name] = FollowedModel(name, self._room)
        for name, model in self._models.items():
            model.set_desired(reading.states.get(name), reading.problems.get(name))
