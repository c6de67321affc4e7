"""The plugin in vLLM's API server: `vllm.endpoint_plugins`. It adds the routes and follows the desired state.

vLLM loads it only when `VLLM_PLUGINS` names it, once in each API server process.
"""

from __future__ import annotations

import asyncio
import logging
import os
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from zo_runtime.errors import InvalidSpec
from zo_runtime.serving.builder import ProcessBuilder
from zo_runtime.serving.follower import Follower
from zo_runtime.serving.metrics import ServingMetrics
from zo_runtime.serving.settings import ServingSettings
from zo_runtime.vllm_ext.resolver import PLUGIN, RESOLVER
from zo_runtime.vllm_ext.serving_engine import VllmEngine
from zo_runtime.vllm_ext.serving_routes import router

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.datastructures import State
    from vllm.engine.protocol import EngineClient

log = logging.getLogger("vllm.zofinetune")
# What a server on CPUs may name as its worker extension, for LoRA layers several times as fast as vLLM's own there.
RUNWISE = "zo_runtime.vllm_ext.cpu_lora.RunwiseServing"
# The server answers from its first moment on with what is desired, unless that takes longer, in seconds.
STARTUP_SECONDS = 60.0
# Seconds until a follower that ended by a defect starts again.
_RESTART_SECONDS = 5.0


class ServingPlugin:
    """vLLM's `EndpointPlugin`."""

    name = PLUGIN
    required_tasks: Any = ("generate",)

    def __init__(self) -> None:
        self._supervisor: asyncio.Task[None] | None = None

    def attach_router(self, app: FastAPI) -> None:
        """Add the read-only routes."""
        app.include_router(router)

    async def init_state(self, engine_client: EngineClient | None, state: State, args: Namespace) -> None:
        """Begin to follow the desired state; the server opens its port once what is desired is served or failed."""
        if engine_client is None:
            return
        try:
            settings = ServingSettings.of(os.environ)
        except InvalidSpec as error:
            log.error("%s: the plugin zofinetune does nothing", error)
            return
        engine = VllmEngine(engine_client, state.openai_serving_models)
        if engine_client.vllm_config.parallel_config.worker_extension_cls == RUNWISE:
            await engine_client.collective_rpc("zo_use_runwise_lora")
        follower = Follower(settings, engine, ProcessBuilder(settings.cache), ServingMetrics())
        state.zo_follower = RESOLVER.follower = follower
        self._supervisor = asyncio.create_task(_keep_running(follower))
        try:
            await asyncio.wait_for(follower.settled.wait(), STARTUP_SECONDS)
        except TimeoutError:
            log.warning(
                "the desired adapters are not loaded after %.0f s; the server starts without", STARTUP_SECONDS
            )


async def _keep_running(follower: Follower) -> None:
    """Run the follower for as long as the server lives; a defect of ours is logged and must not end the following."""
    while True:
        task = asyncio.create_task(follower.run())
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        log.error("the follower of the desired state ended", exc_info=task.exception())
        await asyncio.sleep(_RESTART_SECONDS)
