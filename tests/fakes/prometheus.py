"""A Prometheus that answers every instant query as a test wishes, on a loopback port, and remembers the queries."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

ROUTE = "/api/v1/query"


@dataclass
class FakePrometheus:
    """`answer` is the value of one sample, the values of several, or a whole body with its status."""

    answer: float | tuple[float, ...] | tuple[int, Any] = 0.0
    token: str | None = None
    queries: list[str] = field(default_factory=list)
    url: str = ""
    runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        """Listen, on the port of before if there was one."""
        app = web.Application()
        app.router.add_get(ROUTE, self._query)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", port or int(self.url.rpartition(":")[2] or 0))
        await site.start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Go away."""
        runner, self.runner = self.runner, None
        if runner is not None:
            await runner.cleanup()

    async def _query(self, request: web.Request) -> web.Response:
        self.queries.append(request.query["query"])
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401, text="Unauthorized")
        answer = self.answer
        if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict | list | str):
            status, body = answer
            if isinstance(body, str):
                return web.Response(status=status, text=body)
            return web.json_response(body, status=status)
        values = answer if isinstance(answer, tuple) else (answer,)
        return web.json_response(vector(*values))


def vector(*values: object) -> dict[str, Any]:
    """The body of an instant vector."""
    series = [{"metric": {"pod": f"p{n}"}, "value": [1700000000.0, str(value)]} for n, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": series}}


@contextlib.asynccontextmanager
async def prometheus(**options: Any) -> AsyncIterator[FakePrometheus]:
    """One that runs for a while."""
    made = FakePrometheus(**options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
