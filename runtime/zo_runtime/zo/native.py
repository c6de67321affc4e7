"""The directions of `directions.py` at native speed: numba kernels, one thread each and free of the GIL.

The kernels never contract a multiplication and an addition into one rounding (numba compiles without
`fastmath`); where the product is exact that would not matter, where it is not the format forbids it.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from zo_runtime.zo.directions import BLOCKS_PER_TILE, TILE, Stream
from zo_runtime.zo.philox import MULTIPLIERS, ROUNDS, WEYL, split_seed

Floats = npt.NDArray[np.float32]

_U32 = np.uint32
_U64 = np.uint64
_M0, _M1 = _U64(MULTIPLIERS[0]), _U64(MULTIPLIERS[1])
_W0, _W1 = _U32(WEYL[0]), _U32(WEYL[1])
_S32 = _U64(32)


@numba.njit(nogil=True, cache=True)
def _tile_words(words, first, tensor, step, direction, key0, key1):  # type: ignore[no-untyped-def]
    """Fill `words` [4, 16] with the 16 blocks from counter `first`; the loop over blocks vectorizes."""
    for lane in range(BLOCKS_PER_TILE):
        x0, x1, x2, x3 = _U32(first + _U32(lane)), tensor, step, direction
        k0, k1 = key0, key1
        for _ in range(ROUNDS):
            p0 = _U64(x0) * _M0
            p1 = _U64(x2) * _M1
            y0 = _U32(_U32(p1 >> _S32) ^ x1 ^ k0)
            y2 = _U32(_U32(p0 >> _S32) ^ x3 ^ k1)
            x0, x1, x2, x3 = y0, _U32(p1), y2, _U32(p0)
            k0, k1 = _U32(k0 + _W0), _U32(k1 + _W1)
        words[0, lane], words[1, lane], words[2, lane], words[3, lane] = x0, x1, x2, x3


@numba.njit(nogil=True, cache=True)
def _tile_levels(levels, words, rademacher):  # type: ignore[no-untyped-def]
    """Turn the words of a tile into twice its numbers: integers in -8..8, or -2 and 2. `levels` is [128]."""
    for word in range(4):
        base = word * 2 * BLOCKS_PER_TILE
        for lane in range(BLOCKS_PER_TILE):
            v = words[word, lane]
            if rademacher:
                low = _U32(v & _U32(1))
                high = _U32(_U32(v >> _U32(16)) & _U32(1))
                levels[base + lane] = np.int32(2) - np.int32(4) * np.int32(low)
                levels[base + BLOCKS_PER_TILE + lane] = np.int32(2) - np.int32(4) * np.int32(high)
            else:  # two 16-bit population counts side by side in one word
                v = _U32(v - _U32(_U32(v >> _U32(1)) & _U32(0x55555555)))
                v = _U32(_U32(v & _U32(0x33333333)) + _U32(_U32(v >> _U32(2)) & _U32(0x33333333)))
                v = _U32(_U32(v + _U32(v >> _U32(4))) & _U32(0x0F0F0F0F))
                v = _U32(_U32(v + _U32(v >> _U32(8))) & _U32(0x00FF00FF))
                levels[base + lane] = np.int32(v & _U32(0xFF)) - np.int32(8)
                levels[base + BLOCKS_PER_TILE + lane] = np.int32(v >> _U32(16)) - np.int32(8)


@numba.njit(nogil=True, cache=True)
def _add_scaled(out, scale, rademacher, key0, key1, tensor, step, direction):  # type: ignore[no-untyped-def]
    """`out` [n] += scale * draw, one rounding for each number."""
    half = np.float32(scale * np.float32(0.5))  # exact, and so is half * level
    words = np.empty((4, BLOCKS_PER_TILE), np.uint32)
    levels = np.empty(TILE, np.int32)
    for start in range(0, out.shape[0], TILE):
        first = _U32(start // TILE * BLOCKS_PER_TILE)
        _tile_words(words, first, tensor, step, direction, key0, key1)
        _tile_levels(levels, words, rademacher)
        for e in range(min(TILE, out.shape[0] - start)):
            out[start + e] += half * np.float32(levels[e])


@numba.njit(nogil=True, cache=True)
def _scale(out, factor):  # type: ignore[no-untyped-def]
    """`out` [n] *= factor, rounded once."""
    for e in range(out.shape[0]):
        out[e] = np.float32(out[e] * factor)


@numba.njit(nogil=True, cache=True)
def _subtract_product(out, factor, other):  # type: ignore[no-untyped-def]
    """`out` [n] -= factor * other, the product rounded before it is subtracted."""
    for e in range(out.shape[0]):
        product = np.float32(factor * other[e])
        out[e] = np.float32(out[e] - product)


def add_scaled(out: Floats, scale: np.float32, stream: Stream) -> None:
    """Add `scale` times the stream's numbers to the flat array `out`, in place."""
    key0, key1 = split_seed(stream.seed)
    _add_scaled(
        out, np.float32(scale), stream.distribution == "rademacher",
        _U32(key0), _U32(key1), _U32(stream.tensor), _U32(stream.step), _U32(stream.direction),
    )  # fmt: skip


def draw(stream: Stream, size: int) -> Floats:
    """The first `size` numbers of a stream; equal to `draw_reference`."""
    out = np.zeros(size, np.float32)
    add_scaled(out, np.float32(1.0), stream)
    return out


def scale(out: Floats, factor: np.float32) -> None:
    """Multiply a flat array in place, one rounding for each number."""
    _scale(out, np.float32(factor))


def subtract_product(out: Floats, factor: np.float32, other: Floats) -> None:
    """Subtract `factor * other` from a flat array in place: two roundings, never one."""
    _subtract_product(out, np.float32(factor), other)
