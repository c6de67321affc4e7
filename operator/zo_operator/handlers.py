"""The operator as kopf runs it: each handler is one delegation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from zo_operator import names
from zo_operator.application import Application
from zo_operator.cluster.kinds import CHILDREN, RESOURCE, KindInfo
from zo_operator.settings import Settings


async def operate(app: Application, listening: Callable[[], None] = lambda: None) -> None:
    """Run one operator until it is told to stop, and leave no connection open however it ends.

    `listening` is called once the ports are open.

    Raises:
        SettingsError: a port is taken.
    """
    try:
        await app.listen()
        listening()
        await kopf.operator(
            registry=register(app),
            standalone=True,
            clusterwide=app.settings.clusterwide,
            namespaces=app.settings.namespaces,
            stop_flag=app.stopping,
            # Without one, kopf asks the DNS for the host's full name, and waits for it where there is none.
            identity=app.settings.identity or names.REPORTER,  # type: ignore[arg-type]
        )
    finally:
        # kopf has done so already where it could; a second time changes nothing.
        await app.stop()


def register(app: Application) -> kopf.OperatorRegistry:
    """A registry of handlers for one application."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return await app.login()

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings, app.settings)
        await app.start()

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await app.stop()

    for kind in (RESOURCE, *CHILDREN):
        _watch(registry, app, kind)
    return registry


def _watch(registry: kopf.OperatorRegistry, app: Application, kind: KindInfo) -> None:
    group, _, version = kind.api_version.rpartition("/")

    @kopf.on.event(group, version, kind.plural, registry=registry, id=f"{kind.plural}-seen")
    async def seen(event: kopf.RawEvent, **_: Any) -> None:
        app.controller.seen(kind, event["type"], dict(event["object"]))


def configure(settings: kopf.OperatorSettings, ours: Settings) -> None:
    """kopf watches and nothing else: it stores no state in objects, adds no finalizers and posts no events. Where
    it would, it does so under the project's own prefix."""
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.persistence.finalizer = f"{names.GROUP}/operator"
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.GROUP)
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    settings.scanning.disabled = True
    settings.networking.request_timeout = ours.request_timeout
    settings.networking.connect_timeout = ours.connect_timeout
    settings.watching.connect_timeout = ours.connect_timeout
    settings.watching.server_timeout = ours.watch_timeout
    settings.watching.client_timeout = ours.watch_timeout + 30
    settings.watching.chunk_size = 500
    # A worker holds one of the places until it has been idle for that long; the handlers take no time at all.
    settings.queueing.worker_limit = 256
    settings.queueing.idle_timeout = 0.1
    settings.process.ultimate_exiting_timeout = ours.drain_seconds + 60
    for kind in CHILDREN:
        group, _, version = kind.api_version.rpartition("/")
        settings.watching.label_selectors[group, version, kind.plural] = kind.selector
