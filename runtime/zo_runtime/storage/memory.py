"""A store in this process's memory: the reference for the protocol's meaning, and the fake for tests."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

from zo_runtime.storage.keys import require_condition, require_key
from zo_runtime.storage.protocol import NotFound, ObjectInfo, PreconditionFailed


class MemoryStore:
    """Objects in a dictionary. Safe between threads; gone with the process."""

    def __init__(self, uri: str = "memory:") -> None:
        self.uri = uri
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes and etag. Raise `NotFound`."""
        require_key(key)
        with self._lock:
            if key not in self._objects:
                raise NotFound(f"{self.uri}/{key}")
            data = self._objects[key]
        return data, _etag(data)

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write an object; see the protocol. Raise `PreconditionFailed`."""
        require_key(key)
        require_condition(if_absent, if_match)
        with self._lock:
            current = self._objects.get(key)
            if if_absent and current is not None:
                raise PreconditionFailed(f"{self.uri}/{key} exists")
            if if_match is not None and (current is None or _etag(current) != if_match):
                raise PreconditionFailed(f"{self.uri}/{key} is not the object that was read")
            self._objects[key] = bytes(data)
        return _etag(data)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys start with `prefix`, ordered by key."""
        with self._lock:
            found = sorted((key, data) for key, data in self._objects.items() if key.startswith(prefix))
        for key, data in found:
            yield ObjectInfo(key, len(data), _etag(data))

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        require_key(key)
        with self._lock:
            self._objects.pop(key, None)


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
