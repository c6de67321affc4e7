"""JSON objects that prove their own bytes: canonical text with a SHA-256 of the rest inside.

Canonical: keys sorted, no spaces, ASCII only, numbers as Python writes them. The field `sha256` is the hash of
the same text without that field. A reader demands the canonical bytes exactly, so that a flip is found even where
JSON itself would not mind it, in white space or in the hash.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from zo_runtime.errors import LogCorrupt, LogMismatch

FORMAT = 1
_HASH = "sha256"


class CheckedDocument(BaseModel):
    """A part of a log's JSON: camelCase on the wire, unknown fields refused, immutable once read."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )


D = TypeVar("D", bound=CheckedDocument)


def sha256(data: bytes) -> str:
    """SHA-256 of an object's bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def encode(document: CheckedDocument) -> bytes:
    """The bytes to store for a document."""
    fields = document.model_dump(mode="json", by_alias=True)
    return _seal({"format": FORMAT, **fields})


def decode(data: bytes, model: type[D], key: str) -> D:
    """Check and parse the stored bytes of `key`. Raise `LogCorrupt`; `LogMismatch` for another format."""
    try:
        fields = json.loads(data)
    except ValueError:
        raise LogCorrupt(f"{key} is not JSON; restore the object from a copy") from None
    if not isinstance(fields, dict) or _HASH not in fields:
        raise LogCorrupt(f"{key} lacks its checksum; restore the object from a copy")
    del fields[_HASH]
    if _seal(fields) != data:
        raise LogCorrupt(f"{key} does not match its own checksum; restore the object from a copy")
    stored_format = fields.pop("format", None)
    if stored_format != FORMAT:
        raise LogMismatch(f"{key} has format {stored_format}, this program reads {FORMAT}; use a matching zofinetune")
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise LogCorrupt(f"{key}: {place}: {first['msg']}; restore the object from a copy") from None


def _seal(fields: dict[str, Any]) -> bytes:
    digest = sha256(_canonical(fields))
    return _canonical({**fields, _HASH: digest})


def _canonical(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
