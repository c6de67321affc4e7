"""The directions of `directions.py`, and the update of `bank.py`, at native speed: numba kernels, one thread each and
free of the GIL.

The kernels never contract a multiplication and an addition into one rounding (numba compiles without
`fastmath`); where the product is exact that would not matter, where it is not the format forbids it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from zo_runtime.zo.directions import BLOCKS_PER_TILE, TILE, Stream
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.philox import MULTIPLIERS, ROUNDS, WEYL, split_seed
from zo_runtime.zo.pieces import Piece, homes

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
def _add_levels(target, half, levels, size):  # type: ignore[no-untyped-def]
    """`target` [128] += half * levels, one rounding for each number: the product is exact."""
    for e in range(size):
        target[e] += half * np.float32(levels[e])


@numba.njit(nogil=True, cache=True)
def _scale(target, factor, size):  # type: ignore[no-untyped-def]
    """`target` [128] *= factor, rounded once."""
    for e in range(size):
        target[e] = np.float32(target[e] * factor)


@numba.njit(nogil=True, cache=True)
def _subtract_product(target, factor, other, size):  # type: ignore[no-untyped-def]
    """`target` [128] -= factor * other, the product rounded before it is subtracted."""
    for e in range(size):
        product = np.float32(factor * other[e])
        target[e] = np.float32(target[e] - product)


@numba.njit(nogil=True, cache=True)
def _apply(  # type: ignore[no-untyped-def]
    values, momentum, table, first, last, numbers, coefficients, rates, decays, beta, rademacher, key0, key1
):
    """All steps for the pieces first..last - 1, tile by tile: a tile is read once, and stays in the fastest cache
    until the last step. `values` and `momentum` are flat, piece after piece; `momentum` is empty where there is none.
    A piece may begin and end inside a tile: the numbers low..high - 1 of it are meant, and what stands below them is
    computed too and not kept, for loops that begin at a constant are a third faster."""
    words = np.empty((4, BLOCKS_PER_TILE), np.uint32)
    levels = np.empty(TILE, np.int32)
    value, moment = np.zeros(TILE, np.float32), np.zeros(TILE, np.float32)
    has_momentum = momentum.shape[0] > 0
    for piece in range(first, last):
        tensor, start, stop, home = table[piece, 0], table[piece, 1], table[piece, 2], table[piece, 3]
        for tile in range(start // TILE, (stop + TILE - 1) // TILE):
            block = _U32(tile * BLOCKS_PER_TILE)
            low, high = max(start - tile * TILE, 0), min(stop - tile * TILE, TILE)
            place = home + tile * TILE - start
            value[low:high] = values[place + low : place + high]
            if has_momentum:
                moment[low:high] = momentum[place + low : place + high]
            for s in range(numbers.shape[0]):
                if has_momentum:
                    _scale(moment, beta, high)
                if decays[s] != np.float32(1):
                    _scale(value, decays[s], high)
                for j in range(coefficients.shape[1]):
                    half = np.float32(coefficients[s, j] * np.float32(0.5))  # exact, and so is half * level
                    if half == np.float32(0):
                        continue
                    _tile_words(words, block, _U32(tensor), numbers[s], _U32(j), key0, key1)
                    _tile_levels(levels, words, rademacher)
                    if has_momentum:
                        _add_levels(moment, half, levels, high)
                    else:
                        _add_levels(value, -half, levels, high)
                if has_momentum:
                    _subtract_product(value, rates[s], moment, high)
            values[place + low : place + high] = value[low:high]
            if has_momentum:
                momentum[place + low : place + high] = moment[low:high]


@numba.njit(nogil=True, cache=True)
def _draw(out, table, first, last, step, direction, rademacher, key0, key1):  # type: ignore[no-untyped-def]
    """Fill the parts of `out` that belong to the pieces first..last - 1."""
    words = np.empty((4, BLOCKS_PER_TILE), np.uint32)
    levels = np.empty(TILE, np.int32)
    for piece in range(first, last):
        tensor, start, stop, home = table[piece, 0], table[piece, 1], table[piece, 2], table[piece, 3]
        for tile in range(start // TILE, (stop + TILE - 1) // TILE):
            _tile_words(words, _U32(tile * BLOCKS_PER_TILE), _U32(tensor), step, direction, key0, key1)
            _tile_levels(levels, words, rademacher)
            low, high = max(start - tile * TILE, 0), min(stop - tile * TILE, TILE)
            place = home + tile * TILE - start + low
            for e in range(high - low):
                out[place + e] = np.float32(0.5) * np.float32(levels[low + e])


Table = npt.NDArray[np.int64]
"""A row for each piece: tensor, start, stop, and where it begins among all pieces."""


def table_of(pieces: Sequence[Piece]) -> Table:
    """The pieces as kernels read them, one after another."""
    rows = [(p.tensor, p.start, p.stop, home) for p, home in zip(pieces, homes(pieces), strict=True)]
    return np.array(rows, np.int64).reshape(-1, 4)


class Steps(NamedTuple):
    """Successive steps of one subspace: their numbers [n], coefficients [n, q], learning rates [n] and what each
    leaves of B, 1 - rate * decay [n]."""

    numbers: npt.NDArray[np.uint32]
    coefficients: Floats
    rates: Floats
    decays: Floats


def steps_of(updates: Sequence[Update], method: Method) -> Steps:
    """The arrays of some updates."""
    rates = [update.learning_rate for update in updates]
    return Steps(
        np.array([update.step for update in updates], np.uint32),
        np.array([update.coefficients for update in updates], np.float32),
        np.array(rates, np.float32),
        np.array([method.kept(rate) for rate in rates], np.float32),
    )


def apply(
    values: Floats,
    momentum: Floats | None,
    table: Table,
    pieces: range,
    steps: Steps,
    method: Method,
) -> None:
    """Apply steps to some pieces of a subspace, in place: the arithmetic that `zo.bank` defines."""
    key0, key1 = split_seed(method.seed)
    none = values[:0]
    _apply(
        values, none if momentum is None else momentum, table, pieces.start, pieces.stop, *steps,
        np.float32(method.momentum or 0.0), method.distribution == "rademacher", _U32(key0), _U32(key1),
    )  # fmt: skip


def draw_pieces(out: Floats, table: Table, pieces: range, step: int, direction: int, method: Method) -> None:
    """Draw one direction's numbers of some pieces into their parts of `out`, flat, piece after piece."""
    key0, key1 = split_seed(method.seed)
    rademacher = method.distribution == "rademacher"
    _draw(out, table, pieces.start, pieces.stop, _U32(step), _U32(direction), rademacher, _U32(key0), _U32(key1))


def draw(stream: Stream, size: int) -> Floats:
    """The first `size` numbers of a stream; equal to `draw_reference`."""
    out, whole = np.empty(size, np.float32), table_of([Piece(stream.tensor, 0, size)])
    key0, key1 = split_seed(stream.seed)
    _draw(
        out, whole, 0, 1, _U32(stream.step), _U32(stream.direction),
        stream.distribution == "rademacher", _U32(key0), _U32(key1),
    )  # fmt: skip
    return out
