"""From a URI to a store."""

from __future__ import annotations

from zo_runtime.config.storage import S3
from zo_runtime.errors import InvalidSpec
from zo_runtime.storage.local import LocalStore
from zo_runtime.storage.protocol import ObjectStore


def is_s3(uri: str) -> bool:
    """Tell an object-storage URI from a path of this machine. Raise `InvalidSpec` for any other scheme."""
    scheme, separator, _ = uri.partition("://")
    if separator and scheme != "s3":
        raise InvalidSpec(f"{scheme}:// is no storage this product knows; give a folder or s3://bucket/prefix")
    return bool(separator)


def open_store(uri: str, s3: S3) -> ObjectStore:
    """Open `s3://bucket/prefix`, or a folder of this machine. Nothing is read or written yet."""
    if is_s3(uri):
        from zo_runtime.storage.s3 import S3Store  # noqa: PLC0415 - boto3 takes long to import

        return S3Store(uri, s3)
    return LocalStore(uri)
