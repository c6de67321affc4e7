"""The canonical bytes of an example, and the digest of a data set: the same on every machine."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

from zo_runtime.data.examples import Example


def canonical_bytes(example: Example) -> bytes:
    """Target, number of candidates, then each sequence of token ids after its length, as little-endian uint32.

    The lengths make it unambiguous: two examples have the same bytes only if they are equal.
    """
    numbers = [example.target, len(example.candidates)]
    for ids in (example.prompt, *example.candidates):
        numbers.append(len(ids))
        numbers.extend(ids)
    return struct.pack(f"<{len(numbers)}I", *numbers)


def dataset_digest(train: Iterable[Example], held_out: Iterable[Example]) -> str:
    """SHA-256 over both parts in their order, as lowercase hex."""
    total = hashlib.sha256()
    for part in (train, held_out):
        digests = hashlib.sha256()
        for example in part:
            digests.update(hashlib.sha256(canonical_bytes(example)).digest())
        total.update(digests.digest())
    return total.hexdigest()
