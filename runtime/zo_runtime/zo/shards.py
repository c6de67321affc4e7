"""What the ranks of a tensor-parallel group hold of one bank, put together again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zo_runtime.zo.bank import Bank, Floats
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method
from zo_runtime.zo.pieces import Piece


class ShardsDiffer(Exception):
    """Ranks are not at one step, hold other numbers of the same layer, or do not hold all of it."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A rank's state after `step`: its pieces, their values [K, total] and the momentum of the same shape if any."""

    step: int
    pieces: tuple[Piece, ...]
    values: Floats
    momentum: Floats | None = None


def assemble(layout: BankLayout, method: Method, shards: Sequence[Shard]) -> Bank:
    """The whole bank. Raise `ShardsDiffer`: what several ranks hold has to be the same in all of them."""
    bank = Bank(layout, method)
    if len(steps := {shard.step for shard in shards}) != 1:
        raise ShardsDiffer(f"the ranks are at the steps {', '.join(map(str, sorted(steps)))}")
    bank.step = steps.pop()
    known = np.zeros(layout.subspace_size, bool)
    for rank, shard in enumerate(shards):
        home = 0
        for piece in shard.pieces:
            begin = layout.offsets[piece.tensor]
            there, here = slice(begin + piece.start, begin + piece.stop), slice(home, home + piece.size)
            home += piece.size
            seen = known[there]
            for whole, part in ((bank.values, shard.values), (bank.momentum, shard.momentum)):
                if whole is None or part is None:
                    continue
                # As bits: -0 is not 0, and what is no number equals itself.
                if np.any((whole[:, there].view(np.uint32) != part[:, here].view(np.uint32)) & seen):
                    raise ShardsDiffer(f"rank {rank} has other numbers of {layout.tensors[piece.tensor].name}")
                whole[:, there] = part[:, here]
            known[there] = True
    if not known.all():
        tensor = int(np.searchsorted(layout.offsets, int(np.argmin(known)), "right")) - 1
        raise ShardsDiffer(f"no rank has all of {layout.tensors[tensor].name}")
    return bank
