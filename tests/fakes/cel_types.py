"""Type-checks CEL rules against a structural schema, as the API server does when a CRD is applied.

Each object of the schema becomes a protobuf message with fields of its types, and Google's CEL checks the rule
against that message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool

_SCALARS = {"string": 9, "integer": 3, "number": 1, "boolean": 8}  # field types of descriptor.proto
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3
_PACKAGE = "spec"


class TypedRules:
    """The types of one schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._file = descriptor_pb2.FileDescriptorProto(name="spec.proto", package=_PACKAGE, syntax="proto3")
        self._message("Root", schema)
        self._pool = descriptor_pool.DescriptorPool()
        self._pool.Add(self._file)

    def result_of(self, at: str, rule: str) -> str:
        """The type of a rule's result.

        Raises:
            RuntimeError: the rule names what is not there, or mixes types.
        """
        name = "Root" + "".join(f"_{part}" for part in at.split(".") if part)
        kind = cel.Type(f"{_PACKAGE}.{name}")
        environment = cel.NewEnv(descriptor_pool=self._pool, variables={"self": kind, "oldSelf": kind})
        return str(environment.compile(rule).return_type().name())

    def _message(self, name: str, schema: Mapping[str, Any]) -> str:
        message = descriptor_pb2.DescriptorProto(name=name)
        for number, (key, found) in enumerate(schema.get("properties", {}).items(), 1):
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
                continue
            repeated = found.get("type") == "array"
            below = found.get("items", {}) if repeated else found
            label = _REPEATED if repeated else _OPTIONAL
            field = message.field.add(name=key, number=number, label=label, json_name=key)
            if below.get("type") in _SCALARS:
                field.type = _SCALARS[below["type"]]
                # So that `has` tells an absent field from an empty one.
                if field.label == _OPTIONAL:
                    field.proto3_optional = True
                    field.oneof_index = len(message.oneof_decl)
                    message.oneof_decl.add(name=f"_{key}")
            else:
                field.type, field.type_name = _MESSAGE, self._message(f"{name}_{key}", below)
        self._file.message_type.append(message)
        return f".{_PACKAGE}.{name}"
