"""Asking a serving replica what it serves, over HTTP."""

from __future__ import annotations

import os
from typing import Protocol

import aiohttp
from pydantic import ValidationError

from zo_operator.reconcile.replicas import Problem
from zo_runtime.serving.contract import ADAPTERS_ROUTE, ServedAdapters

# An answer has a few hundred bytes a model; whatever answers with more is no replica of ours.
_LIMIT = 1 << 20


class ReplicaReader(Protocol):
    """Where the answers of replicas come from."""

    async def read(self, host: str, port: int, api_key: str | None) -> ServedAdapters | Problem:
        """What the replica at that address serves, or why it does not say."""


class HttpReplicaReader:
    """Reads `/zo/v1/adapters` of a pod. The words of a problem are the same each time, so that one that stays is
    told once."""

    def __init__(self, timeout: float) -> None:
        self._seconds, self._session = timeout, None

    _session: aiohttp.ClientSession | None

    async def read(self, host: str, port: int, api_key: str | None) -> ServedAdapters | Problem:
        if self._session is None:
            # Pods are reached directly, never through a proxy, and a redirect is not theirs to give.
            timeout = aiohttp.ClientTimeout(total=self._seconds)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}{ADAPTERS_ROUTE}"
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                if response.status != 200:
                    return _refusal(response.status, url, api_key)
                return _parsed(await _body(response), url)
        except TimeoutError:
            return Problem("TimedOut", f"no answer from {url} within {self._seconds:g} seconds")
        except aiohttp.ClientConnectorError as error:
            code = error.os_error.errno
            return Problem("Unreachable", f"no connection to {url}: {os.strerror(code) if code else error.os_error}")
        except aiohttp.ClientError:
            return Problem("Unreachable", f"the connection to {url} broke")

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


def _parsed(body: bytes, url: str) -> ServedAdapters | Problem:
    if len(body) > _LIMIT:
        return Problem("BadAnswer", f"{url} answers with more than {_LIMIT} bytes: is this the port of vLLM's API?")
    try:
        return ServedAdapters.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "JSON"
        return Problem("BadAnswer", f"{url} answers with something else: {where}: {first['msg']}")


def _refusal(status: int, url: str, api_key: str | None) -> Problem:
    if status in (401, 403):
        if api_key is None:
            return Problem(
                "Unauthorized", f"{url} answers {status}: it wants a key: give spec.serving.apiKeySecretRef"
            )
        remedy = "is it the replica's --api-key?"
        return Problem("Unauthorized", f"{url} answers {status} to the key of spec.serving.apiKeySecretRef: {remedy}")
    if status == 404:
        return Problem("PluginMissing", f"{url} answers 404: name zofinetune's plugins in the pod's VLLM_PLUGINS")
    return Problem("BadAnswer", f"{url} answers {status}")
