"""From YAML text to plain JSON-like values, read the way a Kubernetes client reads it.

PyYAML parses; the conversion here is our own, because PyYAML's differs from what `kubectl apply` does to the
same file: it lets a repeated key win silently, reads `1e-3` as text, `12:30` as 750 and `2025-01-01` as a date,
and fails with bare Python exceptions on tags that do not fit their values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_TAG = "tag:yaml.org,2002:"
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
# JSON numbers are exact up to here; a whole number written as 1e3 or 2.0 counts as an integer below it.
_EXACT = 2.0**53
_LARGEST = 2**64


class YAMLProblem(ValueError):
    """The text is not YAML, or holds what a manifest must not hold. The message is one sentence without a dot."""


class _Composer(yaml.SafeLoader):
    """SafeLoader whose plain scalars resolve as Kubernetes clients resolve them."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's protocol


for _name, _pattern, _first in (
    ("bool", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", r"[-+]?(?:0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
):
    # PyYAML looks resolvers up by a scalar's first character, and the empty scalar under the empty string.
    _Composer.add_implicit_resolver(
        _TAG + _name, re.compile(f"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
    )


_RESOLVER = _Composer("")


def read_documents(text: str) -> list[object]:
    """Return the values of a YAML stream's documents; empty documents count as None.

    Mappings become dicts with string keys, as in JSON.

    Raises:
        YAMLProblem: not YAML, a repeated key, a key that is not text, a foreign tag, endless nesting.
    """
    try:
        return [_Converter().value(node) for node in _compose(text)]
    except yaml.MarkedYAMLError as error:
        raise YAMLProblem(_describe(error)) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # ValueError and OverflowError: PyYAML's reader on escapes of characters that do not exist.
        if isinstance(error, YAMLProblem):
            raise
        raise YAMLProblem("it holds a character that YAML does not allow") from error
    except RecursionError as error:
        raise YAMLProblem("it is nested too deeply") from error


def _compose(text: str) -> Iterable[Node]:
    return [node for node in yaml.compose_all(text, Loader=_Composer) if node is not None]


def _describe(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join((error.problem or "it cannot be read").split())
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _at(node: Node) -> str:
    return f"line {node.start_mark.line + 1}"


class _Converter:
    """Converts one document. Nodes that aliases share are converted once, so that no alias can blow up."""

    def __init__(self) -> None:
        self._done: dict[int, object] = {}
        self._open: set[int] = set()

    def value(self, node: Node) -> object:
        identity = id(node)
        if identity in self._open:
            raise YAMLProblem(f"{_at(node)}: the alias contains itself")
        if identity not in self._done:
            self._open.add(identity)
            self._done[identity] = self._convert(node)
            self._open.remove(identity)
        return self._done[identity]

    def _convert(self, node: Node) -> object:
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node)
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item) for item in node.value]
        if isinstance(node, ScalarNode):
            return _scalar(node)
        raise YAMLProblem(f"{_at(node)}: the tag {node.tag} is not allowed: leave it out")

    def _mapping(self, node: MappingNode) -> dict[str, object]:
        merged: dict[str, object] = {}
        own: dict[str, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                merged = {**self._merge(value_node), **merged}
                continue
            key = _key(key_node)
            if key in own:
                raise YAMLProblem(f"{_at(key_node)}: the key {key} stands twice in one mapping: keep one of them")
            own[key] = self.value(value_node)
        return {**merged, **own}

    def _merge(self, node: Node) -> dict[str, object]:
        """The mapping, or the mappings of which the first wins, that a `<<` key brings in."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, object] = {}
        for source in sources:
            value = self.value(source)
            if not isinstance(value, dict):
                raise YAMLProblem(f"{_at(source)}: `<<` takes a mapping")
            merged = {**value, **merged}
        return merged


def _key(node: Node) -> str:
    """A key as text. A whole number in its usual form is taken as its digits, as it is in JSON; what YAML would
    turn into something else than what is written is refused."""
    if isinstance(node, ScalarNode):
        text: str = node.value
        if node.tag == _TAG + "str":
            return text
        if node.tag == _TAG + "int" and re.fullmatch(r"0|-?[1-9][0-9]*", text):
            return text
        raise YAMLProblem(f"{_at(node)}: the key {text or '(empty)'} is not text in YAML: put it in quotes")
    raise YAMLProblem(f"{_at(node)}: a key must be text, not a list or a mapping")


def _scalar(node: ScalarNode) -> object:
    kind = node.tag.removeprefix(_TAG)
    text: str = node.value
    if kind in {"str", "merge"}:
        return text
    # A tag may be written out (`!!int`); the value must fit it as if it were not.
    written = str(_RESOLVER.resolve(ScalarNode, text, (True, False))).removeprefix(_TAG)  # type: ignore[no-untyped-call]
    if kind == "null" and written == "null":
        return None
    if kind == "bool" and written == "bool":
        return _BOOLEANS[text.lower()]
    if kind in {"int", "float"} and written in {"int", "float"}:
        return _number(text, node)
    raise YAMLProblem(f"{_at(node)}: the tag {node.tag} does not fit this value: leave it out")


def _number(text: str, node: Node) -> int | float:
    digits = text.lower().lstrip("+-")
    sign = -1 if text.startswith("-") else 1
    if digits in {".inf", ".nan"}:
        return sign * float(digits[1:])
    if len(digits) > 400:
        raise YAMLProblem(f"{_at(node)}: a number of {len(digits)} digits is too long")
    if re.fullmatch(r"0b.*|0x.*|0o?[0-7]+|0|[1-9][0-9]*", digits):
        base = {"0b": 2, "0x": 16}.get(digits[:2], 8 if len(digits) > 1 and digits[0] == "0" else 10)
        whole = sign * int(digits, base)
        if abs(whole) >= _LARGEST:
            raise YAMLProblem(f"{_at(node)}: {text} is too large: numbers have at most 64 bits")
        return whole
    number = sign * float(digits)
    return int(number) if number.is_integer() and abs(number) < _EXACT else number
