"""What the product asks of object storage: six verbs, with conditional writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class PreconditionFailed(Exception):
    """A conditional write lost: the object exists already, or is no longer the one that was read."""


class NotFound(Exception):
    """There is no object under that key."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object: `key` is relative to the store's URI, `size` in bytes, `etag` opaque; `modified` by the
    storage's own clock, where the storage tells."""

    key: str
    size: int
    etag: str
    modified: datetime | None = None


class ObjectStore(Protocol):
    """A flat namespace of immutable-by-convention objects below one URI.

    Every method raises `zo_runtime.errors.StorageError` when the service fails for good (after its own
    retries), with a sentence that names the URI and the remedy. Keys use `/` and never start with it.
    """

    uri: str

    def get(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes and etag. Raise `NotFound`."""

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write an object whole or not at all, durably, and return its etag. With `if_absent`, only where there
        is none; with `if_match`, only over the object with that etag. Raise `PreconditionFailed`."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys start with `prefix`, ordered by key."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
