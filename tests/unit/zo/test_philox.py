"""Philox4x32-10 against the known-answer vectors of Random123 1.14 (kat_vectors)."""

import numpy as np
import pytest

from zo_runtime.zo.philox import philox4x32

# counter, key, block
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    return [int(w, 16) for w in text.split()]


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN)
def test_known_answers(counter: str, key: str, block: str) -> None:
    k0, k1 = words(key)
    got = philox4x32(np.array([words(counter)], np.uint32), (k0, k1))
    assert got.tolist() == [words(block)]
