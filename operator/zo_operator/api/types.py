"""Field types that Kubernetes has and JSON Schema lacks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from pydantic.config import JsonDict

# Read by `schema.py` and by nobody else.
INT_OR_STRING = "x-kubernetes-int-or-string"
PRESERVE = "x-kubernetes-preserve-unknown-fields"

_QUANTITY = r"^[0-9]+(\.[0-9]*)?([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$"

Quantity = Annotated[
    int | str,
    Field(json_schema_extra={INT_OR_STRING: True, "pattern": _QUANTITY, "maxLength": 32}),
]
"""An amount as Kubernetes writes it: `4`, `500m`, `16Gi`."""

ResourceName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""Name of another object in the resource's namespace."""

LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
Labels = Annotated[dict[str, LabelValue], Field(max_length=64)]
Annotations = Annotated[dict[str, Annotated[str, Field(max_length=65536)]], Field(max_length=64)]

PodObject = Annotated[dict[str, Any], Field(json_schema_extra={PRESERVE: True})]
"""An object of the pod API, handed on as it is; the API server checks it when the Job is made."""


def named(description: str, **properties: JsonDict) -> Any:
    """A `PodObject` of which some properties are known, so that rules may look at them."""
    extra: JsonDict = {PRESERVE: True, "properties": dict(properties), "required": list(properties)}
    return Field(description=description, json_schema_extra=extra)


_SHORT: JsonDict = {"type": "string", "minLength": 1, "maxLength": 63}
EnvVar = Annotated[
    dict[str, Any],
    named(
        "One environment variable, as in a pod.",
        name={"type": "string", "minLength": 1, "maxLength": 253, "description": "Name of the variable."},
    ),
]
Volume = Annotated[
    dict[str, Any],
    named("One volume, as in a pod.", name={**_SHORT, "description": "Name of the volume."}),
]
VolumeMount = Annotated[
    dict[str, Any],
    named(
        "One volume mount, as in a container.",
        name={**_SHORT, "description": "Name of the volume to mount."},
        mountPath={"type": "string", "minLength": 1, "maxLength": 1024, "description": "Where it is mounted."},
    ),
]
