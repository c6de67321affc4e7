"""What the watches and the operator's own writes have shown of the cluster, in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from zo_operator import names
from zo_operator.cluster.kinds import CONFIG_MAP, JOB, POD, RESOURCE, SERVICE, KindInfo
from zo_operator.manifests.metadata import Object
from zo_operator.reconcile.observed import Observed
from zo_operator.reconcile.pods import compact

_GONE_LIMIT = 4096

Ref = tuple[str, str]
"""Namespace and name."""


@dataclass
class Store:
    """The latest known version of every resource and child. `touched` is called with the uid of the resource
    that a change belongs to."""

    touched: Callable[[str], None]
    _objects: dict[str, dict[Ref, Object]] = field(default_factory=lambda: defaultdict(dict))
    _by_uid: dict[str, dict[str, set[Ref]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    _gone: dict[str, None] = field(default_factory=dict)

    def put(self, kind: KindInfo, body: Object) -> None:
        """Take in one version of an object, unless a newer one is known already."""
        slim, ref = _slim(kind, body), _ref(body)
        if str(body["metadata"].get("uid")) in self._gone:
            return
        known = self._objects[kind.kind].get(ref)
        if known is not None and _same_object(known, slim) and _version(known) >= _version(slim) > 0:
            return
        if known is not None:
            self._forget(kind, ref)
        self._objects[kind.kind][ref] = slim
        uid = owner_uid(kind, slim)
        self._by_uid[uid][kind.kind].add(ref)
        self.touched(uid)

    def drop(self, kind: KindInfo, body: Object) -> None:
        """An object is gone. Another one that has its name by now stays."""
        ref = _ref(body)
        self._bury(str(body["metadata"].get("uid")))
        known = self._objects[kind.kind].get(ref)
        if known is not None and _same_object(known, body):
            self._forget(kind, ref)
            self.touched(owner_uid(kind, known))

    def replace(self, kind: KindInfo, bodies: Iterable[Object], since: Mapping[Ref, Object]) -> None:
        """Take in a whole list. Of the objects known before it was asked for (`since`), those that it lacks are
        gone; what came in meanwhile is not judged by it."""
        listed = {_ref(body): body for body in bodies}
        for body in listed.values():
            self.put(kind, body)
        for ref, before in since.items():
            if ref not in listed:
                self.drop(kind, before)

    def known(self, kind: KindInfo) -> dict[Ref, Object]:
        """The known objects of a kind."""
        return dict(self._objects[kind.kind])

    def resource(self, uid: str) -> Object | None:
        """The `ZOFineTune` with that uid."""
        return next(iter(self._of(uid, RESOURCE)), None)

    def resources(self) -> Iterator[Object]:
        """Every `ZOFineTune`."""
        yield from self._objects[RESOURCE.kind].values()

    def uids(self) -> list[str]:
        """Every uid that something is known of."""
        return list(self._by_uid)

    def observe(self, uid: str) -> Observed:
        """The children of a resource."""
        return Observed(
            jobs=tuple(self._of(uid, JOB)),
            pods=tuple(self._of(uid, POD)),
            config_maps=tuple(self._of(uid, CONFIG_MAP)),
            services=tuple(self._of(uid, SERVICE)),
        )

    def size(self) -> dict[str, int]:
        """Number of known objects by kind."""
        return {kind: len(found) for kind, found in self._objects.items()}

    def _of(self, uid: str, kind: KindInfo) -> list[Object]:
        kinds = self._by_uid.get(uid)
        refs = sorted(kinds.get(kind.kind, ())) if kinds else ()
        return [self._objects[kind.kind][ref] for ref in refs]

    def _bury(self, uid: str) -> None:
        """Remember a uid that is gone for good, so that a late answer to a write does not bring it back."""
        self._gone[uid] = None
        if len(self._gone) > _GONE_LIMIT:
            del self._gone[next(iter(self._gone))]

    def _forget(self, kind: KindInfo, ref: Ref) -> None:
        known = self._objects[kind.kind].pop(ref)
        uid = owner_uid(kind, known)
        kinds = self._by_uid[uid]
        kinds[kind.kind].discard(ref)
        if not any(kinds.values()):
            del self._by_uid[uid]


def owner_uid(kind: KindInfo, body: Object) -> str:
    """The uid of the resource that an object is or belongs to."""
    meta = body["metadata"]
    if kind is RESOURCE:
        return str(meta["uid"])
    return str((meta.get("labels") or {}).get(names.LABEL_UID, ""))


def _slim(kind: KindInfo, body: Object) -> Object:
    """An object without what nobody reads."""
    if kind is POD:
        return compact(body)
    meta = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    slim = {**body, "metadata": meta}
    if kind is JOB:
        slim["spec"] = {key: value for key, value in body.get("spec", {}).items() if key != "template"}
    if kind is CONFIG_MAP and body.get("immutable"):
        slim.pop("data", None)
    return slim


def _ref(body: Object) -> Ref:
    meta = body["metadata"]
    return str(meta.get("namespace", "")), str(meta["name"])


def _same_object(one: Object, other: Object) -> bool:
    return bool(one["metadata"].get("uid") == other["metadata"].get("uid"))


def _version(body: Object) -> int:
    """Resource versions of one object are decimal and grow; 0 for one that is not, which never counts as older."""
    text = str(body["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0
