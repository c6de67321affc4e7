"""Parts of the bank: which numbers of which layers somebody holds.

The counter of a number says where in its layer it is, and nothing else, so that any range of any layer can be drawn
alone: a rank of a tensor-parallel group draws and updates the rows that it needs and no others, to the same bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zo_runtime.zo.layout import BankLayout


@dataclass(frozen=True, slots=True)
class Piece:
    """The numbers `start`..`stop` - 1 of one layer's matrix, flat in row-major order."""

    tensor: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many they are."""
        return self.stop - self.start


def all_factors(layout: BankLayout) -> list[Piece]:
    """Every number of a subspace: B (out x r) of each layer, in the order of the bank."""
    return [Piece(i, 0, tensor.out_features * layout.rank) for i, tensor in enumerate(layout.tensors)]


def all_bases(layout: BankLayout) -> list[Piece]:
    """Every number of A (r x in) of each layer."""
    return [Piece(i, 0, layout.rank * tensor.in_features) for i, tensor in enumerate(layout.tensors)]


def rows_of_factors(layout: BankLayout, rows: Iterable[Iterable[tuple[int, int]]]) -> list[Piece]:
    """The pieces that hold, of each layer in turn, these runs of rows of B, each from one row up to another."""
    rank = layout.rank
    return [Piece(i, start * rank, stop * rank) for i, runs in enumerate(rows) for start, stop in runs]


def homes(pieces: Sequence[Piece]) -> list[int]:
    """Where each piece begins among all of them, one after another."""
    ends = itertools.accumulate(piece.size for piece in pieces)
    return [end - piece.size for end, piece in zip(ends, pieces, strict=True)]


def total(pieces: Sequence[Piece]) -> int:
    """Numbers in all pieces, which lie one after another in what is drawn."""
    return sum(piece.size for piece in pieces)
