"""A folder as an object store: whole-or-nothing durable writes and compare-and-swap between processes.

A write goes to a temporary file beside the objects, is synced to the disk, and then takes its name by a hard
link (`if_absent`) or a rename, so that a reader sees the old bytes or the new ones and a crash leaves no half
of either. Writers of one folder take turns by an advisory lock that the kernel frees when its holder dies.
Readers need no lock and no write permission.

The etag is the SHA-256 of the content. Like every etag of content it cannot tell that an object was replaced
and then put back; whoever needs that writes something unique into each version.
"""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zo_runtime.storage.keys import HIDDEN, is_key, require_condition, require_key
from zo_runtime.storage.local_faults import translated
from zo_runtime.storage.local_files import LOCK, acquire, create, make_folder, read, sync_folder
from zo_runtime.storage.protocol import NotFound, ObjectInfo, PreconditionFailed

_TEMPORARY = f"{HIDDEN}tmp"
# A temporary file this much older than a fresh one has lost its writer: nobody takes an hour for one write.
_STALE_SECONDS = 3600.0


class LocalStore:
    """The objects below one folder, which the first write creates. Safe between threads and processes."""

    def __init__(self, folder: str | Path) -> None:
        self.uri = str(folder)
        self._root = Path(folder)
        self._swept = False

    def get(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes and etag. Raise `NotFound`, `StorageError`."""
        require_key(key)
        path = self._root / key
        with translated(path):
            data = read(path)
        if data is None:
            raise NotFound(f"{self.uri}/{key}")
        return data, _etag(data)

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write an object; see the protocol. Raise `PreconditionFailed`, `StorageError`."""
        require_key(key)
        require_condition(if_absent, if_match)
        path = self._root / key
        with translated(path):
            make_folder(path.parent)
            with self._temporary(data) as temporary, self._locked():
                if if_match is not None and _current_etag(path) != if_match:
                    raise PreconditionFailed(f"{path} is not the object that was read")
                if if_absent:
                    create(temporary, path)
                else:
                    temporary.rename(path)
                sync_folder(path.parent)
        return _etag(data)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys start with `prefix`, ordered by key. Raise `StorageError`."""
        with translated(self._root):
            keys = sorted(key for key in self._keys(prefix) if key.startswith(prefix))
        for key in keys:
            path = self._root / key
            with translated(path):
                data = read(path)
            if data is not None:  # else deleted since
                yield ObjectInfo(key, len(data), _etag(data))

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error. Raise `StorageError`."""
        require_key(key)
        path = self._root / key
        with translated(path):
            if not path.exists():
                return
            with self._locked():
                path.unlink(missing_ok=True)
                sync_folder(path.parent)

    def _keys(self, prefix: str) -> Iterator[str]:
        """Keys of the files below the deepest folder that `prefix` names in full."""

        def fail(error: OSError) -> None:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise error

        parent = prefix.rpartition("/")[0]
        if parent and not is_key(parent):
            return
        for folder, subfolders, files in os.walk(self._root / parent, onerror=fail):
            subfolders[:] = [name for name in subfolders if not name.startswith(HIDDEN)]
            for name in files:
                key = Path(folder, name).relative_to(self._root).as_posix()
                if is_key(key):
                    yield key

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock; the kernel frees it if this process dies.

        Every change takes it, also those without a condition: between the comparison and the rename of a
        compare-and-swap nothing else may happen to the object.
        """
        lock = os.open(self._root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            acquire(lock, self._root)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _temporary(self, data: bytes) -> Iterator[Path]:
        """A synced file with `data` in the store's own corner; removed unless it was renamed away."""
        corner = self._root / _TEMPORARY
        make_folder(corner)
        path = corner / uuid.uuid4().hex
        try:
            # Not tempfile: its mode 0600 would hide the object from the other pods of a shared volume.
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                now = os.fstat(file.fileno()).st_mtime
            if not self._swept:
                self._sweep(corner, now)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _sweep(self, corner: Path, now: float) -> None:
        """Remove what killed writers left; `now` is by the file system's clock, as the files' times are."""
        for left in corner.iterdir():
            try:
                stale = left.stat().st_mtime < now - _STALE_SECONDS
            except FileNotFoundError:
                continue
            if stale:
                left.unlink(missing_ok=True)
        self._swept = True


def _current_etag(path: Path) -> str | None:
    data = read(path)
    return None if data is None else _etag(data)


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
