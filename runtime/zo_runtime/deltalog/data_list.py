"""data/<n>.json: what a round learns from, written once when it begins."""

from __future__ import annotations

from zo_runtime.deltalog.checked_json import decode, sha256
from zo_runtime.deltalog.documents import DataList
from zo_runtime.deltalog.inventory import Inventory
from zo_runtime.deltalog.names import data_list_key
from zo_runtime.errors import LogCorrupt, LogMismatch
from zo_runtime.storage.protocol import NotFound, ObjectStore


def put_data_list(inventory: Inventory, store: ObjectStore, number: int, content: bytes) -> None:
    """Write data/<n>.json, over one of a round that never began, but over nobody else's object."""
    key = data_list_key(number)
    if not holds_data_list(store, key, absent=True):
        raise LogMismatch(
            f"{key} of {store.uri} is no part of a delta log; give this run a storage.uri of its own, or move the "
            "object away"
        )
    inventory.put(key, content)


def holds_data_list(store: ObjectStore, key: str, *, absent: bool = False) -> bool:
    """Whether the object is a data list and not a user's; `absent` is the answer where there is none."""
    try:
        decode(store.get(key)[0], DataList, key)
    except NotFound:
        return absent
    except LogCorrupt:
        return False
    return True


def load_data_list(store: ObjectStore, number: int, expected: str) -> DataList:
    """What a round learns from; `expected` is the SHA-256 of its object. Raise `LogCorrupt`."""
    key = data_list_key(number)
    try:
        content, _ = store.get(key)
    except NotFound:
        raise LogCorrupt(f"{key} is missing; restore it from a copy") from None
    if sha256(content) != expected:
        raise LogCorrupt(f"{key} does not have the bytes that the log recorded; restore the object from a copy")
    data = decode(content, DataList, key)
    if data.round != number:
        raise LogCorrupt(f"{key} says that it is of round {data.round}")
    return data
