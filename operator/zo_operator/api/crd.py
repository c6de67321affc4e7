"""The CustomResourceDefinition, generated from the models.

`python -m zo_operator.api.crd > crds/zofinetunes.yaml` writes the committed copy; a test compares the two.
"""

from __future__ import annotations

import sys
from typing import Any

import yaml

from zo_operator import names
from zo_operator.api.rules import RULES
from zo_operator.api.schema import Schema, attach, structural
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.api.status import Status

HEADER = "# Written by `python -m zo_operator.api.crd`.\n"

# Name, type, path, and whether `kubectl get` shows it only with `-o wide`.
_COLUMNS = (
    ("Phase", "string", ".status.phase", False),
    ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status", False),
    ("Step", "integer", ".status.step", False),
    ("Progress", "string", ".status.progress", False),
    ("Loss", "number", ".status.loss", False),
    ("Version", "integer", ".status.version", False),
    ("Reason", "string", ".status.conditions[?(@.type=='Ready')].reason", True),
    ("Accuracy", "number", ".status.accuracyAfter", True),
    ("Round", "integer", ".status.rounds[0].number", True),
    ("Log", "string", ".status.logURI", True),
    ("Served", "integer", ".status.serving.version", True),
    ("Updated", "integer", ".status.serving.updated", True),
    ("Replicas", "integer", ".status.serving.replicas", True),
    ("Age", "date", ".metadata.creationTimestamp", False),
)


def custom_resource_definition() -> dict[str, Any]:
    """The whole `CustomResourceDefinition` object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": ["zoft"],
                "categories": ["all", "zofinetune"],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(*column) for column in _COLUMNS],
                    "schema": {"openAPIV3Schema": _root()},
                }
            ],
        },
    }


def _column(name: str, kind: str, path: str, wide: bool) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": 1} if wide else {})


def _root() -> Schema:
    spec = structural(ZOFineTuneSpec)
    attach(spec, RULES)
    return {
        "type": "object",
        "description": "A base model that is adapted by zeroth-order fine-tuning, and the log of its updates.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
            "kind": {"type": "string", "description": "Always `ZOFineTune`."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": structural(Status, bounded=False),
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes every value in full: an alias of another place would be lost on a reader."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml() -> str:
    """The committed text."""
    body = yaml.dump(custom_resource_definition(), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return HEADER + body


if __name__ == "__main__":
    sys.stdout.write(to_yaml())
