"""`metadata` of owned objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zo_operator import names

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """The resource that owns: what its children need to know of it."""

    name: str
    namespace: str
    uid: str

    def reference(self) -> Object:
        """The owner reference. It does not block a foreground deletion of the owner: nothing of the operator
        may stand in the way of removing a resource."""
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


def labels(owner: Owner, component: str = names.COMPONENT_RUNTIME) -> dict[str, str]:
    """The operator's labels. The resource's own are never copied: tools that prune by label would take the
    children for strays."""
    return {
        names.LABEL_NAME: "zofinetune",
        names.LABEL_INSTANCE: names.slug(owner.name),
        names.LABEL_COMPONENT: component,
        names.LABEL_PART_OF: "zofinetune",
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_UID: owner.uid,
    }


def metadata(owner: Owner, name: str, *, owned: bool = True, component: str = names.COMPONENT_RUNTIME) -> Object:
    """`metadata` of a child; with `owned`, it goes when the resource goes."""
    result: Object = {"name": name, "namespace": owner.namespace, "labels": labels(owner, component)}
    return result | ({"ownerReferences": [owner.reference()]} if owned else {})
