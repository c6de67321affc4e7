"""The held-out split: by what an example says, not by where it stands.

Each example is placed by a keyed hash of its content. Equal examples therefore fall on the same side, so that
nothing is evaluated that was also learned, and neither the order of the records nor records that are added
later move an example, with one exception: with a fixed number of held-out examples, added ones may push some
from the held-out part into the training part, never the other way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zo_runtime.config.data import HeldOut
from zo_runtime.data.digest import canonical_bytes
from zo_runtime.data.examples import Example


def split_keys(examples: Sequence[Example], seed: int) -> NDArray[np.uint64]:
    """Keys k_N: the first 8 bytes, little-endian, of SHA-256 over `zo-split`, the seed and the example's bytes."""
    start = hashlib.sha256(f"zo-split {seed}\n".encode())

    def key(example: Example) -> int:
        digest = start.copy()
        digest.update(canonical_bytes(example))
        return int.from_bytes(digest.digest()[:8], "little")

    return np.fromiter(map(key, examples), np.uint64, len(examples))


def split(examples: Sequence[Example], held_out: HeldOut, seed: int) -> tuple[list[Example], list[Example]]:
    """Divide into (train, held out), each in the order of `examples`.

    With `held_out.examples` = n, the n smallest keys are held out, and all equal to the n-th: equal examples
    stay together, so the part may be larger than n. Otherwise the keys below `held_out.fraction` of their range.
    """
    keys = split_keys(examples, seed)
    if held_out.examples is None:
        # A power of two times a float is exact, so the bound is the same everywhere.
        bound = int(held_out.fraction * 2.0**64)
        chosen = np.ones(len(keys), bool) if bound >= 2**64 else keys < np.uint64(bound)
    else:
        last = min(held_out.examples, len(keys))
        chosen = keys <= np.partition(keys, last - 1)[last - 1]
    train = [example for example, out in zip(examples, chosen, strict=True) if not out]
    return train, [example for example, out in zip(examples, chosen, strict=True) if out]
