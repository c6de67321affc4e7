"""Safetensors files that are the same bytes for the same content, and that prove them.

The format: 8 bytes with the header's length, a JSON header with names, types, shapes and offsets, the numbers. The
public library orders metadata by chance; here everything is in the order given, so two exports are equal. The
metadata field `sha256` covers the whole file, itself counted as zeros.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Dtype = Literal["float32", "float16", "bfloat16"]
_CODES: dict[Dtype, tuple[str, int]] = {"float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2)}
_HASH = "sha256"
_BLANK = "0" * 64
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor to write; `make` is called once, when its turn comes, so that only one is in memory."""

    name: str
    shape: tuple[int, ...]
    make: Callable[[], Floats]


def write_tensors(path: Path, tensors: Sequence[Tensor], dtype: Dtype, metadata: Mapping[str, str]) -> None:
    """Write a file and sync it to the disk. Raise OSError, and ValueError for a number that `dtype` cannot hold."""
    header = _header(tensors, dtype, {**metadata, _HASH: _BLANK})
    digest = hashlib.sha256(header)
    with path.open("wb") as file:
        file.write(header)
        for tensor in tensors:
            numbers = _encode(tensor, dtype)
            digest.update(numbers)
            file.write(numbers)
        file.seek(0)
        file.write(header.replace(_BLANK.encode(), digest.hexdigest().encode(), 1))
        file.flush()
        os.fsync(file.fileno())


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a file by `write_tensors`, all of it verified. Raise OSError, and ValueError for any flaw."""
    metadata: dict[str, str] = _verified_header(path)[0]["__metadata__"]
    return metadata


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Floats]]:
    """Metadata and float32 tensors of a file by `write_tensors`. Raise OSError, and ValueError for any flaw."""
    header, start = _verified_header(path)
    metadata: dict[str, str] = header.pop("__metadata__")
    arrays = {}
    for name, field in header.items():
        count = math.prod(field["shape"])
        numbers = np.fromfile(path, "<f4", count, offset=start + field["data_offsets"][0])
        arrays[name] = numbers.reshape(field["shape"])
    return metadata, arrays


def _header(tensors: Sequence[Tensor], dtype: Dtype, metadata: Mapping[str, str]) -> bytes:
    code, width = _CODES[dtype]
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for tensor in tensors:
        start, end = end, end + width * math.prod(tensor.shape)
        header[tensor.name] = {"dtype": code, "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(_ALIGNMENT, "little") + text


def _encode(tensor: Tensor, dtype: Dtype) -> bytes:
    numbers = np.ascontiguousarray(tensor.make(), "<f4")
    if numbers.shape != tensor.shape:
        raise ValueError(f"{tensor.name} has the shape {numbers.shape}, not {tensor.shape}")
    if dtype == "float32":
        return numbers.tobytes()
    if dtype == "float16":
        with np.errstate(over="ignore"):
            halves = numbers.astype("<f2")
        if not np.isfinite(halves).all():
            raise ValueError(f"{tensor.name} has numbers too large for float16")
        return halves.tobytes()
    # To bfloat16: the upper half of the bits, rounded to nearest with ties to even.
    bits = numbers.view("<u4")
    return (
        ((bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)).astype("<u2").tobytes()
    )


def _verified_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header and where the numbers start."""
    with path.open("rb") as file:
        prefix = file.read(_ALIGNMENT)
        text = file.read(min(int.from_bytes(prefix, "little"), path.stat().st_size))
        header = json.loads(text)
        try:
            recorded: str = header["__metadata__"][_HASH]
        except (KeyError, TypeError):
            raise ValueError("it has no checksum") from None
        digest = hashlib.sha256((prefix + text).replace(recorded.encode(), _BLANK.encode(), 1))
        while part := file.read(1 << 20):
            digest.update(part)
    if digest.hexdigest() != recorded:
        raise ValueError("its checksum does not fit")
    return header, len(prefix) + len(text)
