"""How a kernel's programs share out the pieces that a device draws. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from zo_runtime.zo.directions import BLOCKS_PER_TILE, TILE
from zo_runtime.zo.pieces import Piece, homes


def block_table(pieces: Sequence[Piece], tiles: int) -> npt.NDArray[np.int64]:
    """One row for each run of up to `tiles` tiles of one piece: tensor, first counter, where the run's number 0 lies
    in the result (before its beginning, where a piece begins inside a tile), and the numbers from..to that are meant.
    """
    rows = []
    for piece, home in zip(pieces, homes(pieces), strict=True):
        first = piece.start // TILE
        for tile in range(first, -(-piece.stop // TILE), tiles):
            low, high = piece.start - tile * TILE, piece.stop - tile * TILE
            rows.append((piece.tensor, tile * BLOCKS_PER_TILE, home - low, max(low, 0), min(high, tiles * TILE)))
    return np.array(rows, np.int64).reshape(-1, 5)
