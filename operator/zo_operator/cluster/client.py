"""The few verbs that the operator needs, and one policy for errors, on the client of the `kubernetes` package.

Objects are plain dictionaries: of the package's models none is used. Every request has a timeout, every error is
one of `zo_operator.errors`, and an answer of 401 makes the credentials be read again, once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from zo_operator import names
from zo_operator.cluster.kinds import JOB, KindInfo
from zo_operator.errors import ApiError, SettingsError, Unavailable, from_status
from zo_operator.manifests.metadata import Object
from zo_operator.settings import Settings

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"
_PAGE = 500

# Called once for each request: verb, kind, HTTP code (0 for none), seconds.
Observer = Callable[[str, str, int, float], None]


class Client:
    """One connection pool to one API server. Use it as an asynchronous context manager."""

    def __init__(
        self, login: Callable[[], Awaitable[Configuration]], settings: Settings, observer: Observer | None = None
    ) -> None:
        self._login, self._settings, self._observer = login, settings, observer
        self._timeout = aiohttp.ClientTimeout(total=settings.request_timeout, connect=settings.connect_timeout)
        self._api: ApiClient | None = None

    async def __aenter__(self) -> Self:
        found = await self._login()
        found.connection_pool_maxsize = max(4, 2 * self._settings.workers)
        self._api = ApiClient(found)
        self._api.user_agent = names.REPORTER
        return self

    async def __aexit__(self, *_: object) -> None:
        api, self._api = self._api, None
        if api is not None:
            await api.close()

    async def get(self, kind: KindInfo, namespace: str, name: str) -> Object:
        """Read one object."""
        return await self._request("GET", kind, kind.path(namespace, name))

    async def list(self, kind: KindInfo, namespace: str | None, selector: str = "") -> list[Object]:
        """Read all objects of a kind, in pages, in a namespace or in all of them."""
        found: list[Object] = []
        params = {"limit": str(_PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._request("GET", kind, kind.path(namespace), params=params)
            found += page.get("items") or ()
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            params["continue"] = token

    async def apply(self, kind: KindInfo, body: Object, *, subresource: str | None = None) -> Object:
        """Server-side apply. With `metadata.resourceVersion` in the body, only onto that very version.

        Ownership is forced: whatever the operator states in an object is its own to state.
        """
        meta = body["metadata"]
        path = kind.path(meta["namespace"], meta["name"], subresource)
        params = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        return await self._request("PATCH", kind, path, body, content=APPLY, params=params)

    async def patch(self, kind: KindInfo, namespace: str, name: str, body: Object) -> Object:
        """Merge patch."""
        params = {"fieldManager": names.FIELD_MANAGER}
        return await self._request("PATCH", kind, kind.path(namespace, name), body, content=MERGE, params=params)

    async def create(self, kind: KindInfo, body: Object) -> Object:
        """Create one object."""
        path = kind.path(body["metadata"]["namespace"])
        return await self._request("POST", kind, path, body, params={"fieldManager": names.FIELD_MANAGER})

    async def replace(self, kind: KindInfo, body: Object) -> Object:
        """Write one object whole, if it still has the version of the body."""
        path = kind.path(body["metadata"]["namespace"], body["metadata"]["name"])
        return await self._request("PUT", kind, path, body, params={"fieldManager": names.FIELD_MANAGER})

    async def delete(self, kind: KindInfo, namespace: str, name: str, uid: str) -> Object:
        """Delete one object, if it still has that uid. A Job goes after its pods: as long as it is there, they
        may still write."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground" if kind is JOB else "Background",
            "preconditions": {"uid": uid},
        }
        return await self._request("DELETE", kind, kind.path(namespace, name), options)

    async def served(self, kind: KindInfo) -> bool:
        """Whether the API server knows a kind."""
        root = "/api" if "/" not in kind.api_version else "/apis"
        try:
            answer = await self._request("GET", kind, f"{root}/{kind.api_version}")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return any(found.get("name") == kind.plural for found in answer.get("resources") or ())

    async def _request(
        self,
        method: str,
        kind: KindInfo,
        path: str,
        body: Object | None = None,
        *,
        content: str = JSON,
        params: Mapping[str, str] | None = None,
    ) -> Object:
        api = self._api
        if api is None:
            raise RuntimeError("the client is used outside its context")
        status, answer = await self._send(api, method, kind, path, body, content, params)
        if status == 401:
            await self._sign_in_again(api)
            status, answer = await self._send(api, method, kind, path, body, content, params)
        if status >= 400:
            raise from_status(status, answer.get("message") or f"HTTP {status}", answer.get("details"))
        return answer

    async def _send(
        self,
        api: ApiClient,
        method: str,
        kind: KindInfo,
        path: str,
        body: Object | None,
        content: str,
        params: Mapping[str, str] | None,
    ) -> tuple[int, Object]:
        began, status = time.monotonic(), 0
        try:
            request = await api.param_serialize(
                method,
                path,
                query_params=list((params or {}).items()),
                header_params={"Content-Type": content, "Accept": JSON},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await api.call_api(*request, _request_timeout=self._timeout)
            status = response.status
            return status, _object(await response.read())
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Unavailable(status, f"{method} {path}: {error or type(error).__name__}") from error
        finally:
            if self._observer is not None:
                self._observer(method, kind.kind, status, time.monotonic() - began)

    async def _sign_in_again(self, api: ApiClient) -> None:
        """Give the session fresh credentials; requests that are under way keep theirs."""
        try:
            found = await self._login()
        except SettingsError as error:
            raise Unavailable(401, str(error)) from error
        api.configuration.api_key = found.api_key
        api.configuration.refresh_api_key_hook = found.refresh_api_key_hook
        if found.cert_file:
            api.rest_client.ssl_context.load_cert_chain(found.cert_file, found.key_file)


def _object(raw: bytes) -> Object:
    """The JSON object of an answer; anything else becomes its message."""
    try:
        parsed: Any = json.loads(raw)
    except ValueError:
        parsed = raw.decode(errors="replace")[:500]
    return parsed if isinstance(parsed, dict) else {"message": str(parsed)}
