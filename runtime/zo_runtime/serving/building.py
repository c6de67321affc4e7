"""The build of one model name's wanted version: one at a time, whoever asks for it, and what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from zo_runtime.errors import StorageError, ZOError
from zo_runtime.serving.builder import Builder
from zo_runtime.serving.cache import Hold
from zo_runtime.serving.contract import DesiredState, Target
from zo_runtime.serving.engine import Adapter, Engine
from zo_runtime.serving.manifest import version_label
from zo_runtime.serving.settings import ServingSettings
from zo_runtime.serving.wire import BuildRequest

log = logging.getLogger("vllm.zofinetune")


class Building:
    """`under_way` is the label of the version being built. `done` is what was built, with a claim on its folder."""

    def __init__(
        self,
        settings: ServingSettings,
        engine: Engine,
        builder: Builder,
        on_end: Callable[[str, ZOError | None], None],
    ):
        """`on_end(version, error)` is called after each build that was not stopped."""
        self.under_way: str | None = None
        self.done: tuple[Adapter, Hold] | None = None
        self._settings, self._engine, self._builder, self._on_end = settings, engine, builder, on_end
        self._task: asyncio.Task[tuple[Adapter, Hold]] | None = None

    def start(self, desired: DesiredState, target: Target) -> None:
        """Begin, in the background."""
        self.drop()
        version = self.under_way = version_label(target)
        self._task = asyncio.create_task(self._build(desired, target))
        self._task.add_done_callback(lambda task: self._ended(version, task))

    async def wait(self) -> None:
        """Wait for the build under way, if there is one; to be cancelled here does not stop it."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def stop(self) -> None:
        """Stop the build under way, and drop what was built."""
        if self._task is not None:
            self._task.cancel()
            await self.wait()
        self.drop()

    def take(self) -> tuple[Adapter, Hold] | None:
        """Hand over what was built, and the claim with it."""
        taken, self.done = self.done, None
        return taken

    def drop(self) -> None:
        """Forget what was built."""
        if (taken := self.take()) is not None:
            taken[1].release()

    def _ended(self, version: str, task: asyncio.Task[tuple[Adapter, Hold]]) -> None:
        self._task = self.under_way = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self.done = task.result()
        elif not isinstance(error, ZOError):
            log.error("the build of %s failed", version, exc_info=error)
            error = ZOError(f"{type(error).__name__}: {error}; the server's log has the details")
        self._on_end(version, error)

    async def _build(self, desired: DesiredState, target: Target) -> tuple[Adapter, Hold]:
        request = BuildRequest(
            uri=desired.uri,
            s3=desired.s3,
            target=target,
            dtype=self._engine.dtype,
            model=self._engine.model,
            revision=self._engine.revision,
            cache=self._settings.cache,
            cache_bytes=self._settings.cache_bytes,
        )
        built = await self._builder.build(request)
        hold = Hold.take(built.path)
        if hold is None:
            raise StorageError(
                f"{built.path} was removed before it was loaded; give the cache more room, or each server its own"
            )
        return Adapter(desired.name, desired.uri, target, built.path, built.manifest), hold
