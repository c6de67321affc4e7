"""Prompt templates: text with record fields in braces."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from zo_runtime.data.quarantine import Reason, Unfit, shorten
from zo_runtime.errors import InvalidSpec

_PART = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Template:
    """Literal texts and field names in turn: `parts[0]` is text, `parts[1]` a field, and so on, text at the end."""

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, where: str) -> Template:
        """Parse `{field}`, `{{` and `}}`; `where` names the template in the `InvalidSpec` for anything else.

        A field's name may hold anything but braces. Nothing is evaluated: no attributes, no format codes.
        """
        parts, literal, end = [], "", 0
        for match in _PART.finditer(text):
            literal += text[end : match.start()]
            end = match.end()
            if match[1] is not None:
                parts += [literal, match[1]]
                literal = ""
            elif len(match[0]) == 2:
                literal += match[0][0]
            else:
                raise InvalidSpec(
                    f"{where}: the brace at character {match.start() + 1} does not enclose a field; write {{field}}, "
                    "or {{ and }} for braces"
                )
        return cls((*parts, literal + text[end:]))

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, in the order of the text."""
        return self.parts[1::2]

    def render(self, values: Mapping[str, object]) -> str:
        """Fill in a record. Raise `Unfit` if a field is missing or no text, or if all of them are blank."""
        texts = [field_text(values, name) for name in self.fields]
        if texts and not any(text.strip() for text in texts):
            raise Unfit(Reason.EMPTY_TEXT, f"nothing but blanks in {', '.join(self.fields)}")
        filled = list(self.parts)
        filled[1::2] = texts
        return "".join(filled)


def field_text(values: Mapping[str, object], name: str) -> str:
    """One field of a record as text: strings as they are, numbers and booleans as JSON writes them.

    Raise `Unfit` for a missing value (JSON's null and Python's NaN count as missing), for lists and objects,
    and for strings that are not Unicode text.
    """
    value = values.get(name)
    match value:
        case None:
            raise Unfit(Reason.MISSING_FIELD, f"no field {name!r}")
        case float() if math.isnan(value):
            raise Unfit(Reason.MISSING_FIELD, f"field {name!r} is not a number")
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _unicode(value, name)
    raise Unfit(Reason.NOT_TEXT, f"field {name!r} holds {shorten(value)}")


def _unicode(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unfit(Reason.NOT_TEXT, f"field {name!r} has no valid character at position {error.start + 1}") from None
    return text
