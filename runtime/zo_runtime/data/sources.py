"""From a URI to open files, in an order that depends on their names only."""

from __future__ import annotations

import glob
import io
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from zo_runtime.config.storage import S3
from zo_runtime.errors import InvalidData
from zo_runtime.storage.open import is_s3, open_store
from zo_runtime.storage.protocol import NotFound, ObjectStore

# Objects that are fetched while the one before them is read.
_AHEAD = 4


def open_files(uri: str, s3: S3, where: str) -> Iterator[tuple[str, BinaryIO]]:
    """Yield the name and the open content of each file that `uri` stands for, sorted by name.

    A local `uri` is a file, a folder (with all below it) or a glob pattern; `s3://bucket/key` is one object, or
    else all objects below `key/`. Names that start with `.` or `_` are left out, as the tools that write such
    files expect. Each file is closed when the next one is asked for. Raise `InvalidData` that names the field
    `where` if there is nothing to read.
    """
    yield from _open_objects(uri, s3, where) if is_s3(uri) else _open_local(uri, where)


def _open_local(uri: str, where: str) -> Iterator[tuple[str, BinaryIO]]:
    try:
        paths = local_paths(uri)
    except OSError as error:
        raise unreadable(where, uri, error) from None
    if not paths:
        raise InvalidData(
            f"{where}: {uri!r} is no file, no folder with files and no pattern of any; correct the path"
        )
    for path in paths:
        try:
            file = path.open("rb")
        except OSError as error:
            raise unreadable(where, path.as_posix(), error) from None
        with file:
            yield path.as_posix(), file


def local_paths(uri: str) -> list[Path]:
    """The files that a local URI stands for, sorted by name; empty if there are none. Raise OSError."""
    path = Path(uri)
    if path.is_dir():
        found = {below for below in path.rglob("*") if not is_hidden(below.relative_to(path))}
    elif path.exists():
        return [path]
    else:
        names = glob.glob(uri, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        found = {match for match in map(Path, names) if not is_hidden(Path(match.name))}
    return sorted((each for each in found if each.is_file()), key=lambda each: each.as_posix())


def unreadable(where: str, name: str, error: OSError) -> InvalidData:
    """The error to raise for a file that the system does not give out."""
    return InvalidData(f"{where}: {name} cannot be read: {error.strerror}; correct the path or its rights")


def is_hidden(path: Path) -> bool:
    """Whether some tool keeps the file for itself."""
    return any(part.startswith((".", "_")) for part in path.parts)


def _open_objects(uri: str, s3: S3, where: str) -> Iterator[tuple[str, BinaryIO]]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    store = open_store(f"s3://{bucket}", s3)
    key = key.strip("/")
    if key:
        try:
            data, _ = store.get(key)
        except NotFound:
            key += "/"
        else:
            yield f"{store.uri}/{key}", io.BytesIO(data)
            return
    keys = [info.key for info in store.list(key) if not is_hidden(Path(info.key.removeprefix(key)))]
    if not keys:
        raise InvalidData(f"{where}: there is no object {uri} and none below it; correct the URI")
    for name, data in _read_ahead(store, keys):
        yield f"{store.uri}/{name}", io.BytesIO(data)


def _read_ahead(store: ObjectStore, keys: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the keys' contents in order, with a few requests in flight."""
    with ThreadPoolExecutor(_AHEAD) as pool:
        pending: deque[tuple[str, Future[tuple[bytes, str]]]] = deque()
        try:
            for key in keys:
                pending.append((key, pool.submit(store.get, key)))
                if len(pending) > _AHEAD:
                    name, future = pending.popleft()
                    yield name, future.result()[0]
            for name, future in pending:
                yield name, future.result()[0]
        finally:
            for _, future in pending:
                future.cancel()
