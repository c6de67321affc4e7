"""What a real API server does with a CRD's structural schema: strict fields, pruning, defaults, validation, CEL.

Errors are worded as the API server words them: `spec.optimizer.steps: Invalid value: 0: ...`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from cel_expr_python import cel

Schema = Mapping[str, Any]
PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"


def unknown_fields(value: Any, schema: Schema, path: str = "") -> list[str]:
    """Fields that the schema does not know, as `spec.foo`."""
    return [f'unknown field "{name}"' for name in _walk_unknown(value, schema, path)]


def _walk_unknown(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk_unknown(item, schema.get("items", {}), f"{path}[{index}]")
    if not isinstance(value, dict):
        return
    properties, values = schema.get("properties", {}), schema.get("additionalProperties")
    for key, item in value.items():
        below = f"{path}.{key}".lstrip(".")
        if key in properties:
            yield from _walk_unknown(item, properties[key], below)
        elif values:
            yield from _walk_unknown(item, values, below)
        elif not schema.get(PRESERVE):
            yield below


def prune(value: Any, schema: Schema) -> Any:
    """The value without fields that the schema does not know."""
    if isinstance(value, list):
        return [prune(item, schema.get("items", {})) for item in value]
    if not isinstance(value, dict):
        return value
    properties, values = schema.get("properties", {}), schema.get("additionalProperties")
    kept = {}
    for key, item in value.items():
        if key in properties:
            kept[key] = prune(item, properties[key])
        elif values:
            kept[key] = prune(item, values)
        elif schema.get(PRESERVE):
            kept[key] = item
    return kept


def without_nulls(value: Any, schema: Schema) -> Any:
    """The value without nulls where the schema wants something else: the server takes them for fields not given."""
    if isinstance(value, list):
        return [without_nulls(item, schema.get("items", {})) for item in value]
    if not isinstance(value, dict):
        return value
    properties, values = schema.get("properties", {}), schema.get("additionalProperties")
    fallback = values if isinstance(values, Mapping) else {}
    kept = {}
    for key, item in value.items():
        below = properties.get(key, fallback)
        if item is not None or not below or below.get("nullable"):
            kept[key] = without_nulls(item, below)
    return kept


def with_defaults(value: Any, schema: Schema) -> Any:
    """The value with the schema's defaults where a field is absent."""
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {})) for item in value]
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for key, below in schema.get("properties", {}).items():
        if "default" in below and filled.get(key) is None:
            filled[key] = copy.deepcopy(below["default"])
        if key in filled:
            filled[key] = with_defaults(filled[key], below)
    values = schema.get("additionalProperties")
    if isinstance(values, Mapping):
        filled = {key: with_defaults(item, values) for key, item in filled.items()}
    return filled


def validate(value: Any, schema: Schema, path: str = "") -> list[str]:
    """What is wrong with the value, by the schema alone."""
    if INT_OR_STRING in schema:
        if isinstance(value, bool) or not isinstance(value, int | str):
            return [f"{path}: Invalid value: {value!r}: must be an integer or a string"]
        text_schema = {"type": "string", **{k: v for k, v in schema.items() if k in ("pattern", "maxLength")}}
        return (
            _check_string(value, text_schema, path) if isinstance(value, str) else _check_number(value, schema, path)
        )
    wanted = schema.get("type")
    if wanted and not _is(value, wanted):
        found = "null" if value is None else type(value).__name__
        return [f"{path}: Invalid value: {value!r}: must be of type {wanted}: {found}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: Unsupported value: {value!r}: supported values: {schema['enum']}"]
    checks = {"string": _check_string, "integer": _check_number, "number": _check_number, "array": _check_list}
    check = checks.get(str(wanted), _check_object)
    return check(value, schema, path)


def _is(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    if wanted == "integer":
        return (isinstance(value, int) and abs(value) < 2**63) or (isinstance(value, float) and value.is_integer())
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "number": (int, float),
        "boolean": (bool,),
        "object": (dict,),
        "array": (list,),
    }
    return isinstance(value, kinds[wanted])


def _check_string(value: str, schema: Schema, path: str) -> list[str]:
    wrong = []
    if len(value) < schema.get("minLength", 0):
        wrong.append(f"{path}: Invalid value: {value!r}: should be at least {schema['minLength']} chars long")
    if len(value) > schema.get("maxLength", len(value)):
        wrong.append(f"{path}: Too long: may not be more than {schema['maxLength']} bytes")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        wrong.append(f"{path}: Invalid value: {value!r}: should match '{schema['pattern']}'")
    return wrong


def _check_number(value: float, schema: Schema, path: str) -> list[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(value, int):  # the server compares whole numbers with whole numbers
        low, high = (bound if bound is None else int(bound) for bound in (low, high))
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        return [f"{path}: Invalid value: {value!r}: should be greater than or equal to {low}"]
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        return [f"{path}: Invalid value: {value!r}: should be less than or equal to {high}"]
    return []


def _check_list(value: list[Any], schema: Schema, path: str) -> list[str]:
    wrong = []
    if len(value) > schema.get("maxItems", len(value)):
        wrong.append(f"{path}: Too many: {len(value)}: must have at most {schema['maxItems']} items")
    if len(value) < schema.get("minItems", 0):
        wrong.append(f"{path}: Invalid value: should have at least {schema['minItems']} items")
    for index, item in enumerate(value):
        wrong += validate(item, schema.get("items", {}), f"{path}[{index}]")
    return wrong


def _check_object(value: Any, schema: Schema, path: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    wrong = [f"{path}.{key}: Required value".lstrip(".") for key in schema.get("required", ()) if key not in value]
    if len(value) > schema.get("maxProperties", len(value)):
        wrong.append(f"{path}: Too many: must have at most {schema['maxProperties']} items")
    if len(value) < schema.get("minProperties", 0):
        wrong.append(f"{path}: Invalid value: should have at least {schema['minProperties']} properties")
    properties, values = schema.get("properties", {}), schema.get("additionalProperties")
    for key, item in value.items():
        below = f"{path}.{key}".lstrip(".")
        if key in properties:
            wrong += validate(item, properties[key], below)
        elif isinstance(values, Mapping):
            wrong += validate(item, values, below)
    return wrong


def broken_rules(value: Any, old: Any, schema: Schema, path: str = "") -> list[str]:
    """Messages of the CEL rules that do not hold. Rules about `oldSelf` apply where there is an old value."""
    wrong = []
    for rule in schema.get("x-kubernetes-validations", ()):
        transition = "oldSelf" in rule["rule"]
        if transition and old is None:
            continue
        data = {"self": _typed(value, schema)} | ({"oldSelf": _typed(old, schema)} if transition else {})
        result = _program(rule["rule"]).eval(data=data)
        # An error is no value: a rule that reaches for a field that is not there is broken.
        if result.value() is not True:
            where = f"{path}{rule.get('fieldPath', '')}".lstrip(".")
            wrong.append(f"{where}: Invalid value: {rule['message']}")
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key, below in schema.get("properties", {}).items():
            if key in value:
                wrong += broken_rules(value[key], before.get(key), below, f"{path}.{key}".lstrip("."))
    return wrong


_ENVIRONMENT = cel.NewEnv(variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN})


@cache
def _program(rule: str) -> Any:
    return _ENVIRONMENT.compile(rule)


def _typed(value: Any, schema: Schema) -> Any:
    """CEL has no conversions: a `number` is a double there even when JSON writes it without a point."""
    if isinstance(value, dict):
        properties, values = schema.get("properties", {}), schema.get("additionalProperties")
        fallback = values if isinstance(values, Mapping) else {}
        return {key: _typed(item, properties.get(key, fallback)) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item, schema.get("items", {})) for item in value]
    return float(value) if schema.get("type") == "number" and isinstance(value, int) else value


def refused_schema(schema: Schema, path: str = "") -> list[str]:
    """What the server finds wrong with a schema: defaults that do not fit as they stand, before those inside them
    are filled in, and integer bounds that a float64 does not hold exactly."""
    wrong = []
    if "default" in schema:
        found = validate(schema["default"], schema, path) or broken_rules(schema["default"], None, schema, path)
        wrong += [f"{path}.default: {problem}" for problem in found]
    if schema.get("type") == "integer":
        bounds = [schema[name] for name in ("minimum", "maximum") if name in schema]
        wrong += [f"{path}: {bound}: must be of type integer" for bound in bounds if abs(bound) > 2**53 - 1]
    for name, below in schema.get("properties", {}).items():
        wrong += refused_schema(below, f"{path}.{name}".lstrip("."))
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            wrong += refused_schema(schema[name], f"{path}[]")
    return wrong
