"""The digest of the base model that this server has loaded, which the log's base model must have.

Reading all weights takes long, so the digests of files are kept in the cache, each with what the file system says of
the file: a file with another size, inode, change or modification time is read again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from zo_runtime.deltalog.documents import ModelIdentity
from zo_runtime.errors import LogMismatch, StorageError, UnsupportedModel
from zo_runtime.scoring.shapes import WEIGHTS, content_digest, weights_digest


def base_digest(model: str, revision: str | None, memory: Path) -> str:
    """Digest of a folder's model, or of the copy of a Hugging Face model that the server's start left here.

    `memory` is the file that keeps digests. Raise `UnsupportedModel`, `StorageError`.
    """
    folder = Path(model)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - only for models of the hub
        from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415

        try:
            found = snapshot_download(model, revision=revision, allow_patterns=list(WEIGHTS), local_files_only=True)
        except LocalEntryNotFoundError:
            raise UnsupportedModel(
                f"{model} is neither a folder nor in the Hugging Face cache of this machine, so that its digest is "
                "not known; load the model from safetensors files"
            ) from None
        folder = Path(found)
    remembered = _Memory(memory)
    try:
        digest = weights_digest(folder, model, remembered.digest_of)
        remembered.save()
    except OSError as error:
        raise StorageError(f"{model}: {error.strerror}; the weights must be readable") from None
    return digest


def require_base(log_model: ModelIdentity, digest: str, served: str, uri: str) -> None:
    """Raise `LogMismatch` if a log adapts another base model than the one that is served."""
    if log_model.digest != digest:
        raise LogMismatch(
            f"the log at {uri} adapts the base model {log_model.name} with the digest {log_model.digest[:12]}, and "
            f"this server has {served} with the digest {digest[:12]}; serve that model, or give the log of this one"
        )


class _Memory:
    """Digests of files, by path and state."""

    def __init__(self, path: Path):
        self._path, self._used = path, dict[str, list[object]]()
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError):  # a cache: what cannot be read is computed again
            found = None
        self._known: dict[str, list[object]] = found if isinstance(found, dict) else {}

    def digest_of(self, file: Path) -> str:
        before = _state(file)
        known = self._known.get(str(file))
        if isinstance(known, list) and known[:-1] == before:
            digest = str(known[-1])
        else:
            digest = content_digest(file)
            if _state(file) != before:
                raise StorageError(f"{file} changes while it is read; let the download end first")
        self._used[str(file)] = [*before, digest]
        return digest

    def save(self) -> None:
        if self._used != self._known:
            temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
            temporary.write_text(json.dumps(self._used))
            temporary.replace(self._path)


def _state(file: Path) -> list[object]:
    stat = file.stat()
    return [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
