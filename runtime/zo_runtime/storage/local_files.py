"""What the local store asks of a file system: a lock, exclusive names, and names that last."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from zo_runtime.errors import StorageError
from zo_runtime.storage.keys import HIDDEN
from zo_runtime.storage.protocol import PreconditionFailed

LOCK = f"{HIDDEN}lock"
LOCK_PATIENCE_SECONDS = 60.0
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def acquire(lock: int, root: Path) -> None:
    """Wait for the lock, but not for ever: its holder may be stopped, and then someone has to look."""
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    delay = 0.001
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StorageError(
                    f"{root}: another process has held {LOCK} for {LOCK_PATIENCE_SECONDS:.0f} s; "
                    "end the writer that hangs, then start again"
                ) from None
        time.sleep(delay)
        delay = min(2 * delay, 0.05)


def create(temporary: Path, path: Path) -> None:
    """Give a file its name only if the name is free. Raise `PreconditionFailed`."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise PreconditionFailed(f"{path} exists") from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # Some network file systems have no hard links: there the lock alone keeps other writers out.
        if path.exists():
            raise PreconditionFailed(f"{path} exists") from None
        temporary.rename(path)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, and make their names last through a power failure."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise
        return  # another writer was faster
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> bytes | None:
    """A file's content, or None where there is no such file."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
