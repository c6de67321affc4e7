"""Objects with uid, resourceVersion, generation, finalizers, owner references and a log of events to watch."""

from __future__ import annotations

import bisect
import copy
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str, str]
"""Plural, namespace, name."""

FOREGROUND = "foregroundDeletion"


def now() -> str:
    """The present time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Event:
    """One change. `before` is the object as it was, for watches whose selector it left."""

    version: int
    plural: str
    type: str
    object: Object
    before: Object | None


@dataclass
class ObjectStore:
    """The state of the cluster. Every write that changes something has a version of its own."""

    objects: dict[Key, Object] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)
    compacted: int = 0
    version: int = 100
    listeners: list[Callable[[], None]] = field(default_factory=list)
    _litter: bool = False
    _uids: set[str] = field(default_factory=set)

    def all(self, plural: str) -> list[Object]:
        """Every object of a kind."""
        return [found for (kind, _, _), found in self.objects.items() if kind == plural]

    def create(self, plural: str, body: Object) -> Object:
        """Add an object that is not there."""
        meta = body.setdefault("metadata", {})
        self._litter |= any(reference["uid"] not in self._uids for reference in meta.get("ownerReferences") or ())
        uid = str(uuid.uuid4())
        self._uids.add(uid)
        meta |= {"uid": uid, "creationTimestamp": now(), "generation": 1}
        return self._write(plural, body, None)

    def update(self, plural: str, old: Object, new: Object) -> Object:
        """Store a changed object; one that is the same is not written at all."""
        for name in ("uid", "creationTimestamp", "deletionTimestamp"):
            if name in old["metadata"]:
                new["metadata"][name] = old["metadata"][name]
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        new["metadata"]["generation"] = old["metadata"].get("generation", 1)
        if _content(old) != _content(new):
            new["metadata"]["generation"] += 1
        if _bare(old) == _bare(new):
            return old
        self._litter |= "deletionTimestamp" in new["metadata"]
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            self.remove(plural, new)
            return new
        return self._write(plural, new, old)

    def delete(self, plural: str, found: Object, policy: str) -> Object:
        """Begin or carry out a deletion. In the foreground, what the object owns goes first."""
        self._litter = True
        meta = found["metadata"]
        finalizers = set(meta.get("finalizers") or ())
        if policy == "Foreground" and any(self.owned_by(meta["uid"])):
            finalizers.add(FOREGROUND)
        if not finalizers:
            self.remove(plural, found)
            return found
        if "deletionTimestamp" in meta:
            return found
        marked = copy.deepcopy(found)
        marked["metadata"] |= {"deletionTimestamp": now(), "finalizers": sorted(finalizers)}
        return self._write(plural, marked, found)

    def remove(self, plural: str, found: Object) -> None:
        """Take the object out and tell the watches."""
        self._litter = True
        meta = found["metadata"]
        self._uids.discard(meta["uid"])
        self.objects.pop((plural, meta.get("namespace", ""), meta["name"]), None)
        self.version += 1
        last = copy.deepcopy(found)
        last["metadata"]["resourceVersion"] = str(self.version)
        self._tell(Event(self.version, plural, "DELETED", last, found))

    def owned_by(self, uid: str) -> Iterator[tuple[str, Object]]:
        """The objects with an owner reference to that uid."""
        for (plural, _, _), found in list(self.objects.items()):
            references = found["metadata"].get("ownerReferences") or ()
            if any(reference["uid"] == uid for reference in references):
                yield plural, found

    def collect_garbage(self) -> None:
        """What the garbage collector does, until nothing changes."""
        while self._litter:
            self._litter = self._collect_once()

    def _collect_once(self) -> bool:
        alive = {found["metadata"]["uid"]: found for found in self.objects.values()}
        for (plural, _, _), found in list(self.objects.items()):
            meta = found["metadata"]
            owners = [reference["uid"] for reference in meta.get("ownerReferences") or ()]
            orphaned = owners and not any(uid in alive for uid in owners)
            dying = any(
                FOREGROUND in (alive[uid]["metadata"].get("finalizers") or ()) for uid in owners if uid in alive
            )
            if (orphaned or dying) and "deletionTimestamp" not in meta:
                self.delete(plural, found, "Background")
                return True
            if FOREGROUND in (meta.get("finalizers") or ()) and not any(self.owned_by(meta["uid"])):
                freed = copy.deepcopy(found)
                freed["metadata"]["finalizers"] = [name for name in meta["finalizers"] if name != FOREGROUND]
                self.update(plural, found, freed)
                return True
        return False

    def since(self, version: int) -> list[Event]:
        """The events after a version, oldest first."""
        start = bisect.bisect_right(self.log, version, key=lambda event: event.version)
        return self.log[start:]

    def compact(self) -> None:
        """Forget past events: a watch that starts from an old version gets 410."""
        self.compacted = self.version
        self.log.clear()

    def _write(self, plural: str, body: Object, old: Object | None) -> Object:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        meta = body["metadata"]
        self.objects[(plural, meta.get("namespace", ""), meta["name"])] = body
        self._tell(Event(self.version, plural, "MODIFIED" if old else "ADDED", body, old))
        return body

    def _tell(self, event: Event) -> None:
        self.log.append(event)
        for listener in self.listeners:
            listener()


def _bare(body: Object) -> Object:
    meta = {key: value for key, value in body["metadata"].items() if key not in ("resourceVersion", "managedFields")}
    return {**body, "metadata": meta}


def _content(body: Object) -> Object:
    return {key: value for key, value in body.items() if key not in ("metadata", "status")}
