"""Snapshots of the bank on this machine's disk, so that a replay need not begin at step 1.

A snapshot is a cache: one that cannot be read or does not prove itself is dropped with a warning, one that cannot
be written is done without. It names the log that it is of by the hash of run.json, and carries the bank's digest.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from zo_runtime.adapter.tensor_file import Tensor, read_tensors, write_tensors
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method

log = logging.getLogger(__name__)
# The newest and the one before it, which makes the way back by one version short.
_KEEP = 2
_NAME = re.compile(r"([0-9a-f]{64})-(\d{9,})\.safetensors")


def load_nearest(
    folder: Path, run_sha256: str, layout: BankLayout, method: Method, leads: Callable[[int], bool]
) -> Bank | None:
    """The bank of the latest sound snapshot that `leads` to where the replay goes. Unsound ones are removed."""
    for found, path in sorted(_snapshots(folder, run_sha256), reverse=True):
        if leads(found):
            try:
                return _load(path, run_sha256, layout, method, found)
            except (OSError, ValueError, KeyError) as error:
                log.warning("the snapshot %s is not used and removed: %s", path, error)
                _remove(path)
    return None


def save(folder: Path, run_sha256: str, bank: Bank) -> None:
    """Keep a snapshot of the bank, and of older ones of this log only the newest."""
    path = folder / f"{run_sha256}-{bank.step:09d}.safetensors"
    metadata = {"run": run_sha256, "step": str(bank.step), "digest": bank.digest()}
    arrays = {"values": bank.values} | ({} if bank.momentum is None else {"momentum": bank.momentum})
    tensors = [Tensor(name, array.shape, lambda a=array: a) for name, array in arrays.items()]  # type: ignore[misc]
    temporary = folder / f"{run_sha256}-{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(temporary, tensors, "float32", metadata)
        temporary.replace(path)
        for _, old in sorted(_snapshots(folder, run_sha256), reverse=True)[_KEEP:]:
            _remove(old)
    except OSError as error:
        log.warning("the snapshot %s could not be written, the next replay takes longer: %s", path, error)
        _remove(temporary)


def drop(folder: Path, run_sha256: str) -> None:
    """Remove every snapshot of a log: replay has shown one to be wrong."""
    for _, path in _snapshots(folder, run_sha256):
        _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):  # what cannot be removed is not used either
        path.unlink()


def _snapshots(folder: Path, run_sha256: str) -> Iterator[tuple[int, Path]]:
    for path in folder.glob(f"{run_sha256}-*.safetensors"):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            yield int(match[2]), path


def _load(path: Path, run_sha256: str, layout: BankLayout, method: Method, step: int) -> Bank:
    metadata, arrays = read_tensors(path)
    bank = Bank(layout, method)
    bank.step = step
    for name, into in (("values", bank.values), ("momentum", bank.momentum)):
        if into is not None:
            if arrays[name].shape != into.shape:
                raise ValueError(f"its {name} have the shape {arrays[name].shape}, not {into.shape}")
            into[:] = arrays[name]
    if (metadata["run"], metadata["step"], metadata["digest"]) != (run_sha256, str(step), bank.digest()):
        raise ValueError("it is of another log or step")
    return bank
