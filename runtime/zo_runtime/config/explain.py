"""`zo explain FIELD`: what a field of the manifest means, what it may be, and what it is by default."""

from __future__ import annotations

import textwrap

from zo_runtime.config.document import CLUSTER_FIELDS
from zo_runtime.config.fields import Field, fields_by_path, nearest
from zo_runtime.errors import InvalidSpec

_WIDTH = 100
_INDENT = "  "


def explain(path: str = "spec") -> str:
    """Describe one field, by its dotted path: type, default, bounds, meaning, and its children as a table.

    Raises:
        InvalidSpec: there is no such field; the message names the nearest one.
    """
    known = fields_by_path()
    field = known.get(path)
    if field is None:
        raise InvalidSpec(_unknown(path))
    blocks = [field.path, _wrap(field.description), _facts(field)]
    if field.children:
        blocks.append(_table(field.children))
        blocks.append(_wrap(f"`zo explain {field.path}.{field.children[0].name}` explains a field further."))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _unknown(path: str) -> str:
    head, _, tail = path.partition(".")
    if head == "spec" and tail.partition(".")[0] in CLUSTER_FIELDS:
        return f"{path}: read in a cluster only: see `kubectl explain zofinetune.{path}`"
    known = fields_by_path()
    guess = nearest(path, known) or _nearest_parent(path)
    return f"{path or 'an empty name'}: there is no such field: the nearest one is {guess}"


def _nearest_parent(path: str) -> str:
    while path and path not in fields_by_path():
        path = path.rpartition(".")[0]
    return path or "spec"


def _facts(field: Field) -> str:
    rows = [("type", field.type), ("required", "yes" if field.required else "no")]
    if field.default is not None:
        rows.append(("default", field.default))
    if field.choices:
        rows.append(("one of", ", ".join(field.choices)))
    if field.constraints:
        rows.append(("allowed", ", ".join(field.constraints)))
    width = max(len(name) for name, _ in rows)
    return "\n".join(_hanging(f"{name:<{width}}  ", value) for name, value in rows)


def _table(children: tuple[Field, ...]) -> str:
    """One line a child: name, type, default, and the first sentence of what it means."""
    rows = [("FIELD", "TYPE", "DEFAULT", "MEANING")]
    rows += [(child.name, child.type, _default(child), _first_sentence(child.description)) for child in children]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        _hanging("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)) + "  ", row[3])
        for row in rows
    )


def _default(field: Field) -> str:
    if field.required:
        return "(required)"
    return textwrap.shorten(field.default or "-", 24, placeholder=" ...")


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].rstrip(".") + "."


def _wrap(text: str) -> str:
    return _fill(text, _INDENT, _INDENT)


def _hanging(head: str, text: str) -> str:
    """`text` wrapped beside `head`, or below it where the head leaves too little room."""
    indent = _INDENT + head
    following = " " * min(len(indent), _WIDTH - 30)
    return _fill(text, indent, following)


def _fill(text: str, first: str, following: str) -> str:
    return textwrap.fill(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=following,
        break_on_hyphens=False,
        break_long_words=False,
    ).rstrip()
