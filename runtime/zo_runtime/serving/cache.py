"""Adapters on this machine's disk: whole or not there, verified before use, bounded in size, shared by processes.

```
adapters/<key>/   adapter_config.json  adapter_model.safetensors  manifest.json (SHA-256 of the other two)
snapshots/        banks, from which the next replay begins
building/         folders under way; those of a process that died are removed by the next one that builds
lock              held by the one process that builds or removes
```

A folder gets its name when every byte of it is on the disk, so a crash leaves it whole or absent. Whoever has an
adapter loaded holds a shared lock on its folder, which the kernel frees when the process dies; removal needs an
exclusive one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from zo_runtime.serving.manifest import Manifest
from zo_runtime.storage.local_faults import translated
from zo_runtime.storage.local_files import make_folder, sync_folder

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """A verified adapter."""

    path: Path
    manifest: Manifest


class AdapterCache:
    """The cache below one folder. Every method raises `StorageError` where the disk refuses."""

    def __init__(self, root: Path):
        self.root, self.snapshots = root, root / "snapshots"
        self._adapters, self._building = root / "adapters", root / "building"

    def path(self, key: str) -> Path:
        """Where the adapter of that key is, or will be."""
        return self._adapters / key

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Wait until no other process builds or removes; needed for `put` and `shrink`."""
        with translated(self.root):
            make_folder(self.root)
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                shutil.rmtree(self._building, ignore_errors=True)
                yield
            finally:
                os.close(lock)

    def find(self, key: str) -> Entry | None:
        """The adapter of that key if it is there and every byte of it is the one that was written."""
        folder = self.path(key)
        try:
            manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
            sound = manifest.key == key and all(_sha256(folder / n) == d for n, d in manifest.files.items())
        except (OSError, ValidationError):
            return None
        if not sound:
            return None
        with suppress(OSError):  # a read-only cache has no order of use
            os.utime(folder)
        return Entry(folder, manifest)

    def put(self, key: str, write: Callable[[Path], Manifest]) -> Entry:
        """Add an adapter: `write` fills a folder and describes it. What stands there, unsound, makes way."""
        temporary = self._building / uuid.uuid4().hex
        with translated(temporary):
            make_folder(self._building)
            manifest = write(temporary)
            files = {file.name: _sha256(file) for file in sorted(temporary.iterdir())}
            manifest = manifest.model_copy(update={"key": key, "files": files})
            (temporary / MANIFEST).write_text(manifest.model_dump_json(by_alias=True, indent=2) + "\n")
            for file in temporary.iterdir():
                _sync(file)
            sync_folder(temporary)
            make_folder(self._adapters)
            self._discard(self.path(key))
            temporary.rename(self.path(key))
            sync_folder(self._adapters)
        return Entry(self.path(key), manifest)

    def shrink(self, limit: int, keep: str) -> None:
        """Remove what was used longest ago until at most `limit` bytes remain. The adapter `keep` stays, and whatever
        a process has loaded."""
        with translated(self.root):
            items = sorted(_items(self._adapters, self.snapshots))
            total = sum(size for _, size, _ in items)
            for _, size, path in items:
                if total <= limit:
                    break
                if path == self.path(keep):
                    continue
                if not path.is_dir():
                    path.unlink(missing_ok=True)
                elif (lock := _lock_folder(path, fcntl.LOCK_EX)) is not None:
                    self._discard(path)
                    os.close(lock)
                else:
                    continue
                total -= size

    def _discard(self, path: Path) -> None:
        """Take a folder out of sight in one step, then remove it."""
        if path.exists():
            grave = self._building / uuid.uuid4().hex
            make_folder(self._building)
            path.rename(grave)
            shutil.rmtree(grave, ignore_errors=True)


class Hold:
    """A claim on an adapter's folder: no process removes it until `release`, or until this one dies."""

    def __init__(self, descriptor: int):
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path) -> Hold | None:
        """Claim a folder; None if it is gone or just being removed."""
        descriptor = _lock_folder(path, fcntl.LOCK_SH)
        return None if descriptor is None else cls(descriptor)

    def release(self) -> None:
        """Give the claim up."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lock_folder(path: Path, mode: int) -> int | None:
    """A descriptor that holds a lock on the folder of that name; None if it is taken, or no longer has the name."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _items(*folders: Path) -> Iterator[tuple[int, int, Path]]:
    """Time of last use, bytes, and path of everything in some folders."""
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            with suppress(FileNotFoundError):
                files = list(path.iterdir()) if path.is_dir() else [path]
                yield path.stat().st_mtime_ns, sum(file.stat().st_size for file in files), path


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
