"""From pydantic's errors to sentences: path, value, remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from zo_runtime.config.fields import Field, fields_by_path, nearest

MAX_PROBLEMS = 10
_VALUE_LENGTH = 60

# Pydantic's error types whose remedy is a bound: the text, and the name of the bound in the error's context.
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("must be above {}", "gt"),
    "greater_than_equal": ("must be at least {}", "ge"),
    "less_than": ("must be below {}", "lt"),
    "less_than_equal": ("must be at most {}", "le"),
    "string_too_short": ("must have {} or more characters", "min_length"),
    "string_too_long": ("must have {} or fewer characters", "max_length"),
    "string_pattern_mismatch": ("must match {}", "pattern"),
    "too_short": ("must have {} or more entries", "min_length"),
    "too_long": ("must have {} or fewer entries", "max_length"),
}
_TYPES: Mapping[str, str] = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping with fields",
    "string_unicode": "must be text in UTF-8",
}


def sentences(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One sentence a problem, in the document's order, at most `MAX_PROBLEMS`; a last line counts the rest."""
    problems = [_sentence(detail, model) for detail in error.errors(include_url=False)]
    rest = len(problems) - MAX_PROBLEMS
    if rest <= 0:
        return problems
    return [*problems[:MAX_PROBLEMS], f"and {rest} more {'problem' if rest == 1 else 'problems'}"]


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    path = path_text(detail["loc"])
    known = fields_by_path(model)
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"{path}: unknown field: {_what_instead(path, path_text(detail['loc'][:-1]), known)}"
    if kind == "missing":
        return f"{path}: missing: {_what_it_is(path, known)}"
    return f"{path}: {_reason(detail)}"


def _reason(detail: ErrorDetails) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), shown(detail["input"])
    if kind == "value_error":
        return str(context["error"])
    if kind in _BOUNDS:
        text, bound = _BOUNDS[kind]
        remedy = text.format(_plain(context[bound]))
    elif kind == "literal_error":
        remedy = "must be " + str(context["expected"]).replace("'", "")
    elif kind == "string_type":
        quoted = isinstance(detail["input"], int | float)
        remedy = "must be text" + (": put it in quotes" if quoted else "")
    elif kind in _TYPES:
        remedy = _TYPES[kind]
        if isinstance(detail["input"], str) and kind in {"int_type", "float_type", "bool_type"}:
            remedy += ", without quotes"
    else:
        remedy = detail["msg"][:1].lower() + detail["msg"][1:]
    return f"{value} is not allowed: {remedy}"


def _plain(bound: float | str) -> str:
    """A bound as people write it: 0 for the 0.0 of a field of type float."""
    return f"{bound:.15g}" if isinstance(bound, float) else str(bound)


def _what_instead(path: str, parent: str, known: Mapping[str, Field]) -> str:
    guess = nearest(path, known)
    if guess is None:
        names = [field.name for field in known.values() if field.path.rpartition(".")[0] == parent]
        return f"the fields here are {', '.join(names)}"
    same_place = guess.rpartition(".")[0] == parent
    return f"did you mean {known[guess].name if same_place else guess}?"


def _what_it_is(path: str, known: Mapping[str, Field]) -> str:
    field = known.get(path)
    if field is None:
        return "give it a value"
    if field.choices:
        return f"set it to {' or '.join(field.choices)}"
    meaning = " ".join(field.description.split()).partition(". ")[0].rstrip(".")
    return f"give {'an' if field.type[0] in 'aeiou' else 'a'} {field.type} ({meaning})"


def path_text(location: Sequence[int | str]) -> str:
    """A location as users write it: `spec.data.train.columns[1]`, `labels["two words"]`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def shown(value: Any) -> str:
    """A value as YAML would hold it, on one short line; mappings and lists by their kind and size only."""
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind} of {len(value)}" if value else f"an empty {kind}"
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE_LENGTH else text[: _VALUE_LENGTH - 4] + "..." + text[-1]
