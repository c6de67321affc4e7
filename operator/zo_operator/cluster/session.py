"""The HTTP session of kopf's watches, with credentials that are renewed in place.

kopf closes a session whose credentials have ended and makes another. A request that is just being made on the closed
one then fails with what neither kopf nor aiohttp expects, which ends the watch and with it the operator. So kopf gets
a session whose credentials do not end: a 401 has them read again, and the request is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import kopf
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from kubernetes.aio.client import Configuration

from zo_operator.errors import SettingsError

_UNAUTHORIZED = 401


class RenewedCredentials:
    """aiohttp client middleware that sends the newest token."""

    def __init__(self, login: Callable[[], Awaitable[Configuration]], first: Configuration):
        self._login, self._headers = login, _headers(first)
        self._renewing = asyncio.Lock()

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send a request, again with newer credentials if these are refused and there are any."""
        used = self._headers
        request.headers.update(used)
        response = await handler(request)
        if response.status != _UNAUTHORIZED or not await self._renew(used):
            return response
        response.release()
        request.headers.update(self._headers)
        return await handler(request)

    async def _renew(self, refused: dict[str, str]) -> bool:
        """Read the credentials again, once for all requests that were refused; whether they are others now."""
        async with self._renewing:
            if self._headers == refused:
                try:
                    self._headers = _headers(await self._login())
                except SettingsError:
                    return False
        return self._headers != refused


async def kopf_session(login: Callable[[], Awaitable[Configuration]]) -> kopf.AiohttpSession:
    """A session for kopf, which closes it when the operator ends.

    Raises:
        SettingsError: there are no credentials.
    """
    found = await login()
    tls = kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
    ).as_ssl_context()
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls),  # one connection a watch, however many there are
        middlewares=(RenewedCredentials(login, found),),
        proxy=found.proxy,
        trust_env=True,
    )
    return kopf.AiohttpSession(server=found.host, aiohttp_session=session)


def _headers(found: Configuration) -> dict[str, str]:
    token = str(found.api_key.get("BearerToken", "")).strip()
    return {"Authorization": token} if token else {}
