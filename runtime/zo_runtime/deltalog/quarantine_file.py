"""`quarantine/<sha256>.jsonl`: records set aside, in an object that is named by its own bytes."""

from __future__ import annotations

from zo_runtime.deltalog.checked_json import sha256
from zo_runtime.deltalog.names import quarantine_key
from zo_runtime.errors import LogCorrupt
from zo_runtime.storage.protocol import ObjectStore


def put_quarantine(store: ObjectStore, lines: bytes) -> None:
    """Store JSON lines of unusable records. The same records make the same object."""
    store.put(quarantine_key(sha256(lines)), lines)


def get_quarantine(store: ObjectStore, key: str) -> bytes:
    """Read one such object. Raise `LogCorrupt` if it is not what its name says."""
    data, _ = store.get(key)
    if key != quarantine_key(sha256(data)):
        raise LogCorrupt(f"{key} is not what its name says: delete it, the next run writes it anew")
    return data
