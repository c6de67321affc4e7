"""Which numbers of which layers a device draws, and how a kernel's programs share them out. Pure.

The counter of a number says where in its layer it is, and nothing else, so that any range of any layer can be drawn
alone: a rank of a tensor-parallel group draws its rows and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zo_runtime.zo.directions import BLOCKS_PER_TILE, TILE
from zo_runtime.zo.layout import BankLayout


@dataclass(frozen=True, slots=True)
class Piece:
    """The numbers `start`..`stop` - 1 of one layer's matrix, flat in row-major order."""

    tensor: int
    start: int
    stop: int


def all_factors(layout: BankLayout) -> list[Piece]:
    """Every number of a subspace: B (out x r) of each layer, in the order of the bank."""
    return [Piece(i, 0, tensor.out_features * layout.rank) for i, tensor in enumerate(layout.tensors)]


def all_bases(layout: BankLayout) -> list[Piece]:
    """Every number of A (r x in) of each layer."""
    return [Piece(i, 0, layout.rank * tensor.in_features) for i, tensor in enumerate(layout.tensors)]


def total(pieces: Sequence[Piece]) -> int:
    """Numbers in all pieces, which lie one after another in what is drawn."""
    return sum(piece.stop - piece.start for piece in pieces)


def block_table(pieces: Sequence[Piece], tiles: int) -> npt.NDArray[np.int64]:
    """One row for each run of up to `tiles` tiles of one piece: tensor, first counter, where the run's number 0 lies
    in the result (before its beginning, where a piece begins inside a tile), and the numbers from..to that are meant.
    """
    rows, home = [], 0
    for piece in pieces:
        first = piece.start // TILE
        for tile in range(first, -(-piece.stop // TILE), tiles):
            low, high = piece.start - tile * TILE, piece.stop - tile * TILE
            rows.append((piece.tensor, tile * BLOCKS_PER_TILE, home - low, max(low, 0), min(high, tiles * TILE)))
        home += piece.stop - piece.start
    return np.array(rows, np.int64).reshape(-1, 5)
