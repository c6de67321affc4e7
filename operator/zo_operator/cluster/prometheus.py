"""Asking Prometheus, or what speaks its API, one instant query."""

from __future__ import annotations

import json
import os
from typing import Any, Protocol

import aiohttp

from zo_operator.reconcile.questions import Reply
from zo_operator.reconcile.replicas import Problem

ROUTE = "/api/v1/query"
# An answer is to be a few numbers; a query that gives more is not one about a handful of replicas.
_LIMIT = 1 << 20
_SHOWN = 200


class MetricsSource(Protocol):
    """Where the answers to queries come from."""

    async def query(self, url: str, query: str, token: str | None) -> Reply:
        """The values of an instant query, or why there are none."""


class HttpPrometheus:
    """Asks over HTTP. The words of a problem are the same each time, so that one that stays is told once."""

    def __init__(self, timeout: float) -> None:
        self._seconds = timeout
        self._session: aiohttp.ClientSession | None = None

    async def query(self, url: str, query: str, token: str | None) -> Reply:
        if self._session is None:
            # A redirect could lead the token, or the operator, elsewhere.
            timeout = aiohttp.ClientTimeout(total=self._seconds)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=True)
        where = url.rstrip("/") + ROUTE
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        params = {"query": query, "timeout": f"{self._seconds:g}s"}
        try:
            async with self._session.get(where, params=params, headers=headers, allow_redirects=False) as response:
                body = await _body(response)
                return _parsed(body, where) if response.status == 200 else _refusal(response.status, body, where)
        except TimeoutError:
            return Problem("TimedOut", f"no answer from {where} within {self._seconds:g} seconds")
        except aiohttp.ClientConnectorError as error:
            code = error.os_error.errno
            return Problem(
                "Unreachable", f"no connection to {where}: {os.strerror(code) if code else error.os_error}"
            )
        except aiohttp.ClientError:
            return Problem("Unreachable", f"the connection to {where} broke")

    async def close(self) -> None:
        """Release the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The body, cut after the limit."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) > _LIMIT:
            break
    return bytes(body)


def _parsed(body: bytes, where: str) -> Reply:
    """The values of a scalar or of an instant vector."""
    if len(body) > _LIMIT:
        return Problem("BadAnswer", f"{where} answers with more than {_LIMIT} bytes: ask for fewer series")
    answer = _object(body)
    data = answer.get("data")
    kind = data.get("resultType") if isinstance(data, dict) else None
    if answer.get("status") != "success" or kind not in ("scalar", "vector"):
        what = f"a {kind}, not an instant vector or a scalar" if isinstance(kind, str) else "something else"
        return Problem("BadAnswer", f"{where} answers with {what[:_SHOWN]}")
    try:
        found = data["result"]  # type: ignore[index]  # a kind was found in it
        pairs = [found] if kind == "scalar" else [series["value"] for series in found]
        return tuple(float(pair[1]) for pair in pairs)
    except (KeyError, IndexError, TypeError, ValueError):
        return Problem("BadAnswer", f"{where} answers with values that are no numbers")


def _refusal(status: int, body: bytes, where: str) -> Problem:
    """What Prometheus says of a query that it does not take; nothing of what anything else says is repeated."""
    if status in (401, 403):
        return Problem("Unauthorized", f"{where} answers {status}: give tokenSecretRef, or mend the token")
    answer = _object(body)
    kind, words = answer.get("errorType"), answer.get("error")
    if answer.get("status") == "error" and isinstance(kind, str) and isinstance(words, str):
        reason = "BadQuery" if kind == "bad_data" else "QueryFailed"
        return Problem(reason, f"{where} answers {status}: {' '.join(words.split())[:_SHOWN]}")
    return Problem("BadAnswer", f"{where} answers {status}: is this the URL of Prometheus?")


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
