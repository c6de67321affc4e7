"""What lies at a data source, and single objects of it: how a round tells what is fresh without reading all."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from zo_runtime.config.data import Source
from zo_runtime.config.storage import S3
from zo_runtime.data.sources import is_hidden, local_paths, unreadable
from zo_runtime.errors import InvalidData
from zo_runtime.storage.open import is_s3, open_store
from zo_runtime.storage.protocol import NotFound


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a source, or file. The same `etag` and `size` mean the same content."""

    name: str
    """URI of the object, or path of the file: what `data.sources` calls it."""
    size: int
    etag: str
    """For a file, when it was modified."""
    modified: datetime


class Gone(Exception):
    """There is no object of that name any more."""


class ObjectSource(Protocol):
    """A data source as a set of objects."""

    def list(self) -> list[Listed]:
        """Every object, in no order that means anything; none is no error. Raise `InvalidData`, `StorageError`."""

    def read(self, name: str) -> tuple[bytes, str]:
        """An object's bytes, and an etag that is not newer than they are. Raise `Gone`, and as `list` does."""


def open_source(source: Source, s3: S3, where: str) -> ObjectSource:
    """The source that the document's field `where` describes. Nothing is read yet."""
    return _Bucket(source.uri, s3) if is_s3(source.uri) else _Files(source.uri, where)


class _Files:
    def __init__(self, uri: str, where: str):
        self._uri, self._where = uri, f"{where}.uri"

    def list(self) -> list[Listed]:
        if not glob.has_magic(self._uri) and not Path(self._uri).exists():
            raise InvalidData(
                f"{self._where}: {self._uri!r} is no file, folder or pattern; correct the path, or make the folder"
            )
        try:
            return list(self._found())
        except OSError as error:
            raise unreadable(self._where, self._uri, error) from None

    def read(self, name: str) -> tuple[bytes, str]:
        try:
            with Path(name).open("rb") as file:
                etag = _etag(os.fstat(file.fileno()))
                return file.read(), etag
        except FileNotFoundError:
            raise Gone(name) from None
        except OSError as error:
            raise unreadable(self._where, name, error) from None

    def _found(self) -> Iterator[Listed]:
        for path in local_paths(self._uri):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # removed since
            modified = datetime.fromtimestamp(status.st_mtime, UTC)
            yield Listed(path.as_posix(), status.st_size, _etag(status), modified)


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}"


class _Bucket:
    def __init__(self, uri: str, s3: S3):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self._key = key.strip("/")
        self._store = open_store(f"s3://{bucket}", s3)

    def list(self) -> list[Listed]:
        found = list(self._store.list(self._key))
        one = [info for info in found if info.key == self._key]
        below = f"{self._key}/" if self._key else ""
        all_below = (i for i in found if i.key.startswith(below) and not is_hidden(Path(i.key.removeprefix(below))))
        return [
            Listed(f"{self._store.uri}/{i.key}", i.size, i.etag, i.modified or datetime.fromtimestamp(0, UTC))
            for i in one or all_below
        ]

    def read(self, name: str) -> tuple[bytes, str]:
        try:
            return self._store.get(name.removeprefix(f"{self._store.uri}/"))
        except NotFound:
            raise Gone(name) from None
