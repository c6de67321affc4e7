"""One operator process, put together: settings in, kopf around, everything else inside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime

import kopf
from kubernetes.aio.client import Configuration

from zo_operator.cluster.client import Client
from zo_operator.cluster.progress import HttpProgressReader, ProgressReader
from zo_operator.cluster.prometheus import HttpPrometheus
from zo_operator.cluster.replicas import HttpReplicaReader
from zo_operator.cluster.session import kopf_session
from zo_operator.controller import Controller
from zo_operator.errors import SettingsError
from zo_operator.metrics import Metrics
from zo_operator.reconcile.reconciler import present
from zo_operator.settings import Settings
from zo_operator.web import Endpoints

logger = logging.getLogger(__name__)


class Application:
    """Holds the parts of one operator and their lifetime."""

    def __init__(
        self,
        settings: Settings,
        login: Callable[[], Awaitable[Configuration]],
        reader: ProgressReader | None = None,
        now: Callable[[], datetime] = present,
    ) -> None:
        self.settings, self._login = settings, login
        self.metrics = Metrics()
        self.stopping = asyncio.Event()
        self.failed = False
        self.client = Client(login, settings, self.metrics.observe_request)
        self._own_reader = None if reader is not None else HttpProgressReader(settings.poll_timeout)
        self._replicas = HttpReplicaReader(settings.poll_timeout)
        self._prometheus = HttpPrometheus(settings.query_timeout)
        self.controller = Controller(
            self.client,
            reader or self._own_reader or HttpProgressReader(0),
            self._replicas,
            self._prometheus,
            settings,
            self.metrics,
            self._give_up,
            now,
        )
        self._endpoints = Endpoints(
            live=self.controller.problem, ready=self.controller.unready, registry=self.metrics.registry
        )
        self.ports: tuple[int, int] = (0, 0)

    async def login(self) -> kopf.AiohttpSession:
        """A session for kopf."""
        return await kopf_session(self._login)

    async def listen(self) -> None:
        """Open the ports, before anything else: the process lives while it waits for the API server.

        Raises:
            SettingsError: a port is taken.
        """
        wanted = (self.settings.host, self.settings.health_port, self.settings.metrics_port)
        try:
            self.ports = await self._endpoints.start(*wanted)
        except OSError as error:
            raise SettingsError(f"health-port, metrics-port: cannot listen: {error}") from error
        health, metrics = self.ports
        logger.info("listening", extra={"health_port": health, "metrics_port": metrics})

    async def start(self) -> None:
        """Begin to work."""
        await self.client.__aenter__()
        await self.controller.start()

    async def stop(self) -> None:
        """Stop in the reverse order; a part that fails to stop does not keep the others from it."""
        async with AsyncExitStack() as parts:
            parts.push_async_callback(self._endpoints.stop)
            if self._own_reader is not None:
                parts.push_async_callback(self._own_reader.close)
            parts.push_async_callback(self._replicas.close)
            parts.push_async_callback(self._prometheus.close)
            parts.push_async_callback(self.client.__aexit__)
            parts.push_async_callback(self.controller.stop)

    def _give_up(self) -> None:
        self.failed = True
        self.stopping.set()
