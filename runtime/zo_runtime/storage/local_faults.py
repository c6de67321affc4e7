"""The operating system's errors as one sentence each, with what to do about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zo_runtime.errors import StorageDenied, StorageError

# What no later attempt will cure: someone has to change the path or its rights.
_PERMANENT = {
    errno.EACCES: "permission denied; give this user the right to read and write there, or choose another URI",
    errno.EPERM: "the file system does not permit it; choose another URI",
    errno.EROFS: "the file system is read-only; choose another URI",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another URI",
    errno.EEXIST: "a part of the path is a file, not a folder; choose another URI",
    errno.EISDIR: "it is a folder where a file should be; choose another URI",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter URI",
    errno.EFBIG: "the file would pass the size limit of this process or file system; raise the limit",
}
_PASSING = {
    errno.ENOSPC: "disk full; free some space or choose another URI, then start again",
    errno.EDQUOT: "disk quota exceeded; free some space or raise the quota, then start again",
    errno.EIO: "the device reports an input/output error; check the disk, then start again",
    errno.ESTALE: "the network file system lost the file; mount it again, then start again",
}


def storage_error(error: OSError, path: Path) -> StorageError:
    """The deliberate error for what the operating system said about `path`."""
    if error.errno in _PERMANENT:
        return StorageDenied(f"{path}: {_PERMANENT[error.errno]}")
    said = _PASSING.get(error.errno or 0, f"{error.strerror}; check the disk, then start again")
    return StorageError(f"{path}: {said}")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn any `OSError` inside the block into the storage error for `path`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error
