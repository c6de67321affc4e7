"""Carrying out a plan: each action as one API call, the answer taken into the store."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime

from zo_operator import names
from zo_operator.api.status import Status
from zo_operator.cluster.client import Client
from zo_operator.cluster.kinds import BY_KIND, EVENT, POD, RESOURCE
from zo_operator.cluster.store import Store
from zo_operator.errors import ApiError, Conflict, NameTaken, NotFound
from zo_operator.manifests.metadata import Object
from zo_operator.reconcile.observed import Action, Apply, Delete, Emit, Patch, Resource, timestamp

# An event's name takes the resource's and a hash; object names end at 253 characters.
_NAME_LIMIT = 236


class ActionFailed(Exception):
    """An action that the API server did not take, and why."""

    def __init__(self, action: str, error: ApiError):
        super().__init__(f"{action}: {error.message}")
        self.action, self.error = action, error


class Executor:
    """The writing half of the cluster layer."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client, self._store = client, store

    async def carry_out(self, resource: Resource, action: Action, now: datetime) -> None:
        """Carry out one action.

        Raises:
            ActionFailed: the API server refused a child, or did not answer.
            ApiError: the child is no longer the one that was seen (`Conflict`, `NotFound`): look again.
        """
        match action:
            case Apply(body, new):
                await self._apply(body, new=new)
            case Patch(kind, name, patch):
                await self._tell(
                    f"patch {kind} {name}", kind, self._client.patch(BY_KIND[kind], resource.namespace, name, patch)
                )
            case Delete(kind, name, uid):
                await self._delete(resource, kind, name, uid)
            case Emit():
                await self._emit(resource, action, now)

    async def write_status(self, resource: Resource, status: Status) -> None:
        """Store the whole status, if the resource still has the version that the plan was made for."""
        body: Object = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {
                "name": resource.name,
                "namespace": resource.namespace,
                "resourceVersion": resource.resource_version,
            },
            "status": status.to_dict(),
        }
        self._store.put(RESOURCE, await self._client.apply(RESOURCE, body, subresource="status"))

    async def live_pods(self, resource: Resource) -> tuple[Object, ...]:
        """The resource's pods as the API server has them now."""
        selector = ",".join(f"{key}={value}" for key, value in names.uid_selector(resource.uid).items())
        pods = await self._client.list(POD, resource.namespace, selector)
        for pod in pods:
            self._store.put(POD, pod)
        return tuple(pods)

    async def is_gone(self, resource: Resource) -> bool:
        """Whether the API server says that there is no such resource any more. A missing kind says nothing."""
        try:
            found = await self._client.get(RESOURCE, resource.namespace, resource.name)
        except NotFound as error:
            return error.details.get("name") == resource.name
        return bool(found["metadata"]["uid"] != resource.uid)

    async def _apply(self, body: Object, *, new: bool) -> None:
        kind, name = body["kind"], body["metadata"]["name"]
        if new:
            await self._require_free(kind, body["metadata"]["namespace"], name)
        await self._tell(f"apply {kind} {name}", kind, self._client.apply(BY_KIND[kind], body))

    async def _require_free(self, kind: str, namespace: str, name: str) -> None:
        """Never take over somebody else's object: with it would go whatever it is for."""
        try:
            found = await self._client.get(BY_KIND[kind], namespace, name)
        except NotFound:
            return
        except ApiError as error:
            raise ActionFailed(f"apply {kind} {name}", error) from error
        if (found["metadata"].get("labels") or {}).get(names.LABEL_MANAGED_BY) != names.MANAGED_BY:
            remedy = "it exists and is not the operator's: delete it, or give the ZOFineTune another name"
            raise ActionFailed(f"apply {kind} {name}", NameTaken(409, remedy))

    async def _tell(self, action: str, kind: str, call: Awaitable[Object]) -> None:
        try:
            self._store.put(BY_KIND[kind], await call)
        except (Conflict, NotFound):
            raise
        except ApiError as error:
            raise ActionFailed(action, error) from error

    async def _delete(self, resource: Resource, kind: str, name: str, uid: str) -> None:
        try:
            await self._client.delete(BY_KIND[kind], resource.namespace, name, uid)
        except (NotFound, Conflict):
            # Gone already, or another object by now: either way the one that was meant is not there.
            return
        except ApiError as error:
            raise ActionFailed(f"delete {kind} {name}", error) from error

    async def _emit(self, resource: Resource, event: Emit, now: datetime) -> None:
        """Write an Event under a name made of what it says: told twice, it stands once."""
        name = f"{resource.name[:_NAME_LIMIT]}.{names.digest(resource.uid + event.key, 16)}"
        body: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": resource.namespace},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": resource.name,
                "namespace": resource.namespace,
                "uid": resource.uid,
                "resourceVersion": resource.resource_version,
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message,
            "source": {"component": names.REPORTER},
            "reportingComponent": names.REPORTER,
            "firstTimestamp": timestamp(now),
            "lastTimestamp": timestamp(now),
            "count": 1,
        }
        try:
            await self._client.create(EVENT, body)
        except Conflict:
            return
