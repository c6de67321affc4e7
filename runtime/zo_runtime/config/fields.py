"""The document as a tree of documented fields: for `zo explain`, and for the hints in error messages.

Built from the models' JSON Schema, which pydantic derives from the same annotations that validate, so that
what is explained and what is enforced cannot part.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from zo_runtime.config.document import Document

Schema = Mapping[str, Any]

# How alike two names must be (0 to 1) before one is offered as what the other was meant to be.
_SIMILARITY = 0.6
# The same for two whole paths at different places, which share much by nature.
_PATH_SIMILARITY = 0.8

_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minLength": "characters: at least {}",
    "maxLength": "characters: at most {}",
    "minItems": "items: at least {}",
    "maxItems": "items: at most {}",
    "minProperties": "entries: at least {}",
    "maxProperties": "entries: at most {}",
    "pattern": "matches {}",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the document. `default` is its JSON text, or none where there is no value by default."""

    path: str
    name: str
    type: str
    required: bool
    default: str | None
    description: str
    constraints: tuple[str, ...]
    choices: tuple[str, ...]
    children: tuple[Field, ...]

    def walk(self) -> Iterator[Field]:
        """Yield this field and every field below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


@cache
def field_tree(model: type[BaseModel] = Document) -> Field:
    """The tree of a model's fields, under a root whose path is empty."""
    schema = model.model_json_schema(by_alias=True)
    return _field("", schema, schema.get("$defs", {}), required=True)


@cache
def fields_by_path(model: type[BaseModel] = Document) -> dict[str, Field]:
    """Every field of a model by its dotted path, without the root."""
    return {field.path: field for field in field_tree(model).walk() if field.path}


def _field(path: str, schema: Schema, definitions: Schema, *, required: bool) -> Field:
    core = _resolve(schema, definitions)
    holder = _resolve(core["items"], definitions) if core.get("type") == "array" else core
    children = tuple(
        _field(f"{path}.{name}".lstrip("."), child, definitions, required=name in holder.get("required", ()))
        for name, child in holder.get("properties", {}).items()
    )
    default = schema.get("default")
    return Field(
        path=path,
        name=path.rpartition(".")[2],
        type=_type_name(core, definitions),
        required=required,
        default=None if default is None or isinstance(default, dict) else _text(default),
        description=" ".join(dict.fromkeys(part["description"] for part in (schema, core) if "description" in part)),
        constraints=tuple(
            text.format(core[key] if key == "pattern" else _text(core[key]))
            for key, text in _BOUNDS.items()
            if key in core
        ),
        choices=_choices(core),
        children=children,
    )


def _resolve(schema: Schema, definitions: Schema) -> Schema:
    """Follow a reference and drop `null`, which only says that the field may be left out."""
    if "anyOf" in schema:
        schema = next(option for option in schema["anyOf"] if option.get("type") != "null")
    if "$ref" in schema:
        return _resolve(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return schema


def _type_name(schema: Schema, definitions: Schema) -> str:
    kind: str = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type_name(_resolve(schema['items'], definitions), definitions)}"
    values = schema.get("additionalProperties")
    if kind == "object" and isinstance(values, dict):
        return f"map of string to {_type_name(_resolve(values, definitions), definitions)}"
    return kind


def _choices(schema: Schema) -> tuple[str, ...]:
    return (schema["const"],) if "const" in schema else tuple(schema.get("enum", ()))


def _text(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def nearest(path: str, known: Mapping[str, Field]) -> str | None:
    """The known path that a mistaken one most likely means, or none: the same words in another spelling, then
    a similar name at the same place, then the same name at another place, then any similar path."""
    folded = _fold(path)
    if same := [candidate for candidate in known if _fold(candidate) == folded]:
        return same[0]
    parent, _, name = path.rpartition(".")
    siblings = [candidate for candidate in known if candidate.rpartition(".")[0] == parent]
    if close := difflib.get_close_matches(path, siblings, 1, _cutoff(parent, name)):
        return close[0]
    namesakes = [candidate for candidate, field in known.items() if _fold(field.name) == _fold(name)]
    if close := difflib.get_close_matches(path, namesakes, 1, 0.0):
        return close[0]
    if parent in known:  # what is alike now is alike for its place, not for its name
        return None
    return next(iter(difflib.get_close_matches(path, known, 1, _PATH_SIMILARITY)), None)


def _fold(path: str) -> str:
    return path.casefold().replace("_", "").replace("-", "")


def _cutoff(parent: str, name: str) -> float:
    """The similarity of whole paths that means `_SIMILARITY` of their last names."""
    shared = len(parent) + 1 if parent else 0
    return (shared + _SIMILARITY * len(name)) / (shared + len(name)) if name else 1.0
