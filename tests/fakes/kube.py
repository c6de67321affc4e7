"""A Kubernetes API server for tests: `kmock` for HTTP and discovery, and what it leaves out for the operator's sake.

Adds uid, resourceVersion and generation, the status subresource, merge patch and server-side apply with field
ownership, label selectors, the CRD's defaults, pruning, schema and CEL, validation of built-in kinds, deletion
with preconditions, finalizers and owner references, and watches from a version with bookmarks and expiry.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp.web
import attrs
import kmock
import yaml
from kubernetes.aio.client import Configuration

from fakes import kube_builtin as builtin
from fakes import kube_schema as schemas
from fakes.kube_apply import DuplicateKey, apply, disown, merge_patch
from fakes.kube_store import Event, Object, ObjectStore

ROOT = Path(__file__).resolve().parents[2]
CRD = yaml.safe_load((ROOT / "crds" / "zofinetunes.yaml").read_text())
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
RESOURCES = "zofinetunes"
# What the server's default is where a watch names no time-out, and what it makes of intervals, in seconds.
BOOKMARK_SECONDS = 1.0

_KINDS = {
    "zofinetune.io/v1alpha1/zofinetunes": ("ZOFineTune", {"status"}),
    "batch/v1/jobs": ("Job", {"status"}),
    "v1/pods": ("Pod", {"status"}),
    "v1/configmaps": ("ConfigMap", set()),
    "v1/services": ("Service", {"status"}),
    "v1/secrets": ("Secret", set()),
    "v1/events": ("Event", set()),
    "coordination.k8s.io/v1/leases": ("Lease", set()),
}


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None):
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details or {}


@dataclass(frozen=True)
class Write:
    """One write request, for tests that count or interrupt them."""

    user: str
    verb: str
    plural: str
    name: str
    subresource: str | None


async def _at_once(_: str) -> None:
    """No delay."""


@attrs.define(kw_only=True)
class FakeKube(kmock.KubernetesEmulator):
    """The server. `before` and `after` are called around every write and may raise or block; `listing` is waited for
    before a list of a kind is answered."""

    store: ObjectStore = attrs.field(factory=ObjectStore)
    writes: list[Write] = attrs.field(factory=list)
    reads: list[tuple[str, str, str]] = attrs.field(factory=list)
    before: Callable[[Write], None] = attrs.field(default=lambda _: None)
    after: Callable[[Write], None] = attrs.field(default=lambda _: None)
    listing: Callable[[str], Awaitable[None]] = attrs.field(default=_at_once)
    refused_users: set[str] = attrs.field(factory=set)
    faults: list[Callable[[Write], Refusal | None]] = attrs.field(factory=list)
    tokens: set[str] | None = None
    """Where given, the only valid ones; others get 401."""
    check_builtin: bool = True
    """Whether built-in kinds are checked against Kubernetes' OpenAPI, which takes its time."""
    served: bool = True
    """Whether the CRD is installed."""
    _wake: set[asyncio.Event] = attrs.field(factory=set)
    _epoch: int = 0

    def __attrs_post_init__(self) -> None:
        kmock.KubernetesEmulator.__attrs_post_init__(self)
        for key, (kind, subresources) in _KINDS.items():
            verbs = {"get", "list", "watch", "patch", "create", "delete"}
            self.resources[key] = {
                "kind": kind,
                "namespaced": True,
                "verbs": verbs,
                "subresources": subresources,
            }
        # kopf looks for these two in the discovery before it watches anything.
        for key in ("v1/namespaces", "apiextensions.k8s.io/v1/customresourcedefinitions"):
            self.resources[key] = {"namespaced": False, "verbs": {"get", "list", "watch"}}
        self.store.listeners.append(self._notify)

    async def login(self, user: str = "operator") -> Configuration:
        """Credentials of a user for this server."""
        return Configuration(host=str(self.url).rstrip("/"), api_key={"BearerToken": f"Bearer {user}"})

    # -- direct access for tests, as an administrator

    def put(self, body: Object) -> Object:
        """Create an object, with everything that a request would go through."""
        return self._create(_plural(body), copy.deepcopy(body), {}, "admin")

    def edit(
        self, plural: str, name: str, patch: Object, *, status: bool = False, namespace: str = "default"
    ) -> Object:
        """Merge patch an object."""
        old = self._found(plural, namespace, name)
        return self._update(plural, old, merge_patch(old, patch), "status" if status else None, "admin")

    def find(self, plural: str, name: str, namespace: str = "default") -> Object | None:
        """An object, if it is there."""
        return self.store.objects.get((plural, namespace, name))

    def discard(self, plural: str, name: str, policy: str = "Background", namespace: str = "default") -> None:
        """Delete an object."""
        self.store.delete(plural, self._found(plural, namespace, name), policy)
        self.store.collect_garbage()

    # -- HTTP

    async def _handle(self, request: Any) -> aiohttp.web.StreamResponse:
        resource = request.resource
        if resource is None or resource.plural not in {key.split("/")[-1] for key in _KINDS}:
            if resource is not None and resource.group == "zofinetune.io" and not self.served:
                return aiohttp.web.json_response({"kind": "Status", "code": 404, "message": "not found"}, status=404)
            return await kmock.KubernetesScaffold._handle(self, request)
        user = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if user in self.refused_users:
            # As after a kill -9: nothing of that process gets through any more.
            request._raw_request.transport.close()
            return aiohttp.web.Response(status=503)
        try:
            self._authorize(resource.plural, user)
            if request.params.get("watch") == "true":
                return await self._watch(request)
            if request.method.value.upper() == "GET" and request.name is None:
                await self.listing(resource.plural)
            answer = self._serve(request, user)
            if user in self.refused_users:
                request._raw_request.transport.close()
            return aiohttp.web.json_response(answer)
        except Refusal as refusal:
            status = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "code": refusal.code,
                "reason": refusal.reason,
                "message": refusal.message,
                "details": refusal.details,
            }
            return aiohttp.web.json_response(status, status=refusal.code)

    def _authorize(self, plural: str, user: str) -> None:
        if self.tokens is not None and user not in self.tokens:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        if plural == RESOURCES and not self.served:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")

    def break_watches(self) -> None:
        """End every watch and forget the past, as after a long partition."""
        self._epoch += 1
        self.store.compact()
        self._notify()

    def _serve(self, request: Any, user: str) -> Object:
        plural, namespace, name = request.resource.plural, request.namespace, request.name
        verb = request.method.value.upper()
        if verb == "GET":
            self.reads.append((user, plural, "list" if name is None else "get"))
            return self._list(request) if name is None else self._found(plural, namespace, name)
        write = Write(
            user, verb, plural, name or (request.data or {}).get("metadata", {}).get("name", ""), request.subresource
        )
        self.before(write)
        for fault in self.faults:
            if (refusal := fault(write)) is not None:
                raise refusal
        answer = self._write(request, user)
        self.store.collect_garbage()
        self.writes.append(write)
        self.after(write)
        return answer

    def _write(self, request: Any, user: str) -> Object:
        plural, namespace, name = request.resource.plural, request.namespace, request.name
        verb = request.method.value.upper()
        content = request.headers.get("Content-Type", "")
        body = request.data
        if verb == "POST":
            return self._create(plural, body, request.params, user)
        if verb == "DELETE":
            return self._delete(plural, self._found(plural, namespace, name), body or {})
        if verb == "PATCH" and content.startswith("application/apply-patch"):
            return self._apply(request, json.loads(request.body), user)
        old = self._found(plural, namespace, name)
        if verb == "PUT":
            return self._update(plural, old, body, request.subresource, user)
        if verb == "PATCH" and content.startswith("application/merge-patch"):
            return self._update(plural, old, merge_patch(old, body), request.subresource, user)
        raise Refusal(415, "UnsupportedMediaType", f"{verb} with {content}")

    def _list(self, request: Any) -> Object:
        found = [item for item in self.store.all(request.resource.plural) if _selected(item, request)]
        found.sort(key=lambda item: (item["metadata"].get("namespace", ""), item["metadata"]["name"]))
        start, limit = int(request.params.get("continue") or 0), int(request.params.get("limit") or 0)
        page = found[start : start + limit] if limit else found
        more = str(start + limit) if limit and start + limit < len(found) else ""
        meta = {"resourceVersion": str(self.store.version)} | ({"continue": more} if more else {})
        return {"kind": "List", "apiVersion": "v1", "metadata": meta, "items": page}

    def _found(self, plural: str, namespace: str | None, name: str) -> Object:
        found = self.store.objects.get((plural, namespace or "", name))
        if found is None:
            raise Refusal(404, "NotFound", f'{plural} "{name}" not found', {"name": name, "kind": plural})
        return found

    def _create(self, plural: str, body: Object, params: Any, user: str) -> Object:
        meta = body["metadata"]
        if (plural, meta.get("namespace", ""), meta["name"]) in self.store.objects:
            raise Refusal(409, "AlreadyExists", f'{plural} "{meta["name"]}" already exists')
        body.pop("status", None) if plural == RESOURCES else None
        stored = self._admit(plural, body, None, strict=params.get("fieldValidation") == "Strict")
        return self.store.create(plural, disown({"metadata": {}}, stored, user))

    def _update(self, plural: str, old: Object, new: Object, subresource: str | None, user: str) -> Object:
        version = new["metadata"].get("resourceVersion")
        if version not in (None, old["metadata"]["resourceVersion"]):
            raise Refusal(
                409, "Conflict", "the object has been modified; please apply your changes to the latest version"
            )
        merged = self._parts(plural, old, new, subresource)
        stored = self._admit(plural, merged, old, strict=False)
        result = self.store.update(plural, old, disown(old, stored, user))
        self.store.collect_garbage()
        return result

    def _apply(self, request: Any, body: Object, user: str) -> Object:
        plural, namespace, name = request.resource.plural, request.namespace, request.name
        if body["metadata"].get("managedFields"):
            raise Refusal(400, "BadRequest", "metadata.managedFields must be nil")
        manager = request.params.get("fieldManager")
        if not manager:
            raise Refusal(422, "Invalid", "fieldManager: Required value: is required for apply patch")
        old = self.store.objects.get((plural, namespace or "", name))
        if old is None and (request.subresource or body["metadata"].get("resourceVersion")):
            raise Refusal(404, "NotFound", f'{plural} "{name}" not found', {"name": name, "kind": plural})
        version = body["metadata"].get("resourceVersion")
        if old is not None and version not in (None, old["metadata"]["resourceVersion"]):
            raise Refusal(
                409, "Conflict", "the object has been modified; please apply your changes to the latest version"
            )
        start = old or {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": {}}
        try:
            new, conflicts = apply(start, body, manager, request.params.get("force") == "true")
        except DuplicateKey as error:
            raise Refusal(422, "Invalid", str(error)) from error
        if conflicts:
            raise Refusal(409, "Conflict", "Apply failed with conflicts: " + "; ".join(conflicts))
        new["metadata"] |= {"name": name, "namespace": namespace}
        merged = self._parts(plural, old, new, request.subresource) if old else new
        stored = self._admit(plural, merged, old, strict=False)
        return self.store.create(plural, stored) if old is None else self.store.update(plural, old, stored)

    def _delete(self, plural: str, found: Object, options: Object) -> Object:
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted not in (None, found["metadata"]["uid"]):
            raise Refusal(409, "Conflict", "Precondition failed: UID in precondition differs")
        return self.store.delete(plural, found, options.get("propagationPolicy", "Background"))

    def _parts(self, plural: str, old: Object, new: Object, subresource: str | None) -> Object:
        """With a status subresource, a write changes either the status or the rest."""
        if plural not in (RESOURCES, "jobs", "pods", "services"):
            return new
        keep = new if subresource == "status" else old
        merged = copy.deepcopy(old) if subresource == "status" else copy.deepcopy(new)
        if subresource == "status":
            merged["metadata"]["managedFields"] = new["metadata"].get("managedFields")
        merged.pop("status", None)
        return merged | ({"status": copy.deepcopy(keep["status"])} if "status" in keep else {})

    def _admit(self, plural: str, body: Object, old: Object | None, *, strict: bool) -> Object:
        name = body["metadata"]["name"]
        if plural == RESOURCES:
            body, wrong = admit_resource(body, old, strict=strict)
            kind = "ZOFineTune.zofinetune.io"
        else:
            body = builtin.with_defaults(plural, body, old)
            wrong = builtin.validate(plural, body, old) if self.check_builtin and plural != "pods" else []
            kind = plural
        if wrong:
            raise Refusal(422, "Invalid", f'{kind} "{name}" is invalid: ' + ", ".join(wrong))
        return body

    # -- watches

    def _notify(self) -> None:
        for wake in self._wake:
            wake.set()

    async def _watch(self, request: Any) -> aiohttp.web.StreamResponse:
        try:
            # A server takes whole seconds and no others.
            seconds = int(request.params.get("timeoutSeconds") or 1800)
        except ValueError as error:
            raise Refusal(400, "BadRequest", f"timeoutSeconds: {error}") from error
        response = aiohttp.web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request._raw_request)
        since = int(request.params.get("resourceVersion") or self.store.version)
        if since < self.store.compacted:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await _send(response, "ERROR", gone)
            return response
        wake, epoch = asyncio.Event(), self._epoch
        self._wake.add(wake)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        try:
            while loop.time() < end and epoch == self._epoch and not self._cut(request):
                wake.clear()
                # Events that come in while one is sent set `wake` again, and are found by their version.
                for event in self.store.since(since):
                    await _relay(response, event, request)
                    since = event.version
                try:
                    await asyncio.wait_for(wake.wait(), min(BOOKMARK_SECONDS, max(0.0, end - loop.time())))
                except TimeoutError:
                    meta = {"resourceVersion": str(since)}
                    await _send(response, "BOOKMARK", {"kind": "?", "apiVersion": "v1", "metadata": meta})
        except ConnectionError:
            pass
        finally:
            self._wake.discard(wake)
        return response

    def _cut(self, request: Any) -> bool:
        return request.headers.get("Authorization", "").removeprefix("Bearer ") in self.refused_users


def admit_resource(body: Object, old: Object | None, *, strict: bool) -> tuple[Object, list[str]]:
    """What the API server makes of a `ZOFineTune`, and what it finds wrong with it."""
    content = {key: value for key, value in body.items() if key != "metadata"}
    unknown = schemas.unknown_fields(content, SCHEMA)
    if strict and unknown:
        raise Refusal(400, "BadRequest", "strict decoding error: " + ", ".join(unknown))
    content = schemas.with_defaults(schemas.without_nulls(schemas.prune(content, SCHEMA), SCHEMA), SCHEMA)
    # What was stored under an older schema is read with the defaults of this one.
    old = old and schemas.with_defaults(schemas.prune(old, SCHEMA), SCHEMA)
    wrong = []
    if not unchanged(content, old):
        wrong = schemas.validate(content, SCHEMA) or schemas.broken_rules(content, old, SCHEMA)
    return {**content, "metadata": body["metadata"]}, wrong


def unchanged(content: Object, old: Object | None) -> bool:
    """Validation ratcheting: what is wrong already, and is left as it is, does not stop a change elsewhere."""
    return old is not None and content.get("spec") == old.get("spec")


async def _relay(response: aiohttp.web.StreamResponse, event: Event, request: Any) -> None:
    """Send one event as a watch with a selector sees it: what leaves the selection is deleted for it."""
    if event.plural != request.resource.plural:
        return
    after = _selected(event.object, request)
    before = event.before is not None and _selected(event.before, request)
    kind = event.type
    if kind == "MODIFIED" and after != before:
        kind = "ADDED" if after else "DELETED"
    if after or before:
        await _send(response, kind, event.object)


async def _send(response: aiohttp.web.StreamResponse, kind: str, body: Object) -> None:
    await response.write(json.dumps({"type": kind, "object": body}).encode() + b"\n")


def _selected(body: Object, request: Any) -> bool:
    if request.namespace is not None and body["metadata"].get("namespace") != request.namespace:
        return False
    if request.name is not None and body["metadata"]["name"] != request.name:
        return False
    labels = body["metadata"].get("labels") or {}
    pairs = [part.split("=", 1) for part in request.params.get("labelSelector", "").split(",") if part]
    return all(labels.get(key) == value for key, value in pairs)


def _plural(body: Object) -> str:
    return next(key.split("/")[-1] for key, (kind, _) in _KINDS.items() if kind == body["kind"])
