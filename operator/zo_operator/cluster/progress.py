"""Asking a run for its progress over HTTP."""

from __future__ import annotations

from typing import Protocol

import aiohttp
from pydantic import ValidationError

from zo_runtime.progress import Progress

# A progress is a few hundred bytes; whatever answers with more is not a run.
_LIMIT = 65536


class ProgressReader(Protocol):
    """Where progress comes from."""

    async def read(self, url: str) -> Progress | None:
        """The progress at that URL, or none where nobody answers in time and in form."""


class HttpProgressReader:
    """Reads `/progress` of a pod. A pod that does not answer is no error: the next question comes soon."""

    def __init__(self, timeout: float) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def read(self, url: str) -> Progress | None:
        if self._session is None:
            # Pods are reached directly, never through a proxy, and a redirect is not theirs to give.
            self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=False)
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    return None
                return Progress.model_validate_json(await response.content.read(_LIMIT))
        except (TimeoutError, aiohttp.ClientError, ValidationError):
            return None

    async def close(self) -> None:
        """Release the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
