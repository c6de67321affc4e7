"""From pydantic's JSON Schema to the structural schema that a CRD may hold.

A structural schema has no references and no unions, knows `exclusiveMinimum` as a flag, and drops unknown
fields by itself instead of by `additionalProperties: false`. Strings, lists and maps without a bound get one,
because the API server estimates the cost of CEL rules from the bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from zo_operator.api.rules import Rule
from zo_operator.api.types import INT_OR_STRING, PRESERVE

Schema = dict[str, Any]

_STRING_LIMIT, _LIST_LIMIT, _MAP_LIMIT = 4096, 256, 256
_DROPPED = frozenset({"title", "$defs", "default", "exclusiveMinimum", "exclusiveMaximum", "const", "propertyNames"})


def structural(model: type[BaseModel], *, bounded: bool = True) -> Schema:
    """The structural schema of a model. With `bounded`, as users' input needs it, everything has a largest size
    and defaults are filled in."""
    source = model.model_json_schema(by_alias=True)
    return _convert(source, source.get("$defs", {}), bounded=bounded)


def attach(schema: Schema, rules: Iterable[Rule]) -> None:
    """Write rules into a schema, each at its object."""
    for rule in rules:
        node = schema
        for part in filter(None, rule.at.split(".")):
            node = node["properties"][part]
        node.setdefault("x-kubernetes-validations", []).append(rule.to_schema())


def _convert(node: Mapping[str, Any], definitions: Mapping[str, Any], *, bounded: bool) -> Schema:
    merged = _merged(node, definitions)
    if INT_OR_STRING in merged:
        return _int_or_string(merged)
    result: Schema = {key: value for key, value in merged.items() if key not in _DROPPED}
    if "const" in merged:
        result["enum"] = [merged["const"]]
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in merged:
            result[bound], result[exclusive] = merged[exclusive], True
    result |= _for_whole_numbers(result)
    if "description" in merged:
        result["description"] = " ".join(merged["description"].split())
    if bounded and merged.get("default") is not None:
        result["default"] = _default(merged)
    _descend(result, definitions, bounded=bounded)
    if bounded:
        _bound(result)
    return result


def _for_whole_numbers(node: Schema) -> Schema:
    """The API server cuts a bound down to a whole number before it compares one with it: by `minimum: 0.001` alone,
    it would take 0."""
    low = node.get("minimum", 0)
    if low <= 0 or low == int(low):
        return {}
    return {"x-kubernetes-validations": [{"rule": f"self >= {low}", "message": f"should be at least {low}"}]}


def _merged(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Follow references and drop `null`; what stands beside them wins over what they lead to."""
    own = dict(node)
    if INT_OR_STRING in own:
        return own
    options = own.pop("anyOf", None)
    if options is not None:
        inner = next(option for option in options if option.get("type") != "null")
        return {**_merged(inner, definitions), **own}
    reference = own.pop("$ref", None)
    if reference is not None:
        return {**_merged(definitions[reference.rpartition("/")[2]], definitions), **own}
    return own


def _int_or_string(node: Schema) -> Schema:
    keys = ("description", "pattern", "maxLength", "minimum", "default")
    kept = {key: node[key] for key in keys if node.get(key) is not None}
    return {"anyOf": [{"type": "integer"}, {"type": "string"}], INT_OR_STRING: True, **kept}


def _default(node: Schema) -> Any:
    """An object defaults to `{}`: the API server fills the defaults of its fields."""
    return {} if "properties" in node else node["default"]


def _descend(node: Schema, definitions: Mapping[str, Any], *, bounded: bool) -> None:
    for name, child in node.get("properties", {}).items():
        node["properties"] = {**node["properties"], name: _convert(child, definitions, bounded=bounded)}
    values = node.pop("additionalProperties", None)
    if isinstance(values, Mapping) and "properties" not in node:
        node["additionalProperties"] = _convert(values, definitions, bounded=bounded)
    if "items" in node:
        node["items"] = _convert(node["items"], definitions, bounded=bounded)


def _bound(node: Schema) -> None:
    if node.get("type") == "string" and "enum" not in node:
        node.setdefault("maxLength", _STRING_LIMIT)
    elif node.get("type") == "array":
        node.setdefault("maxItems", _LIST_LIMIT)
    elif "additionalProperties" in node and PRESERVE not in node:
        node.setdefault("maxProperties", _MAP_LIMIT)
