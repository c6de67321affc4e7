"""What the ranks of a tensor-parallel group hold of one bank, put together again. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zo_runtime.zo.bank import Bank
from zo_runtime.zo.pieces import homes


class ShardsDiffer(Exception):
    """Ranks are not at one step, hold other numbers of the same layer, or do not hold all of it."""


def assemble(shards: Sequence[Bank]) -> Bank:
    """The whole bank, from the parts of at least one rank.

    Raise `ShardsDiffer`: what several ranks hold has to be the same in all of them.
    """
    layout = shards[0].layout
    bank = Bank(layout, shards[0].method)
    if len(steps := {shard.step for shard in shards}) != 1:
        raise ShardsDiffer(f"the ranks are at the steps {', '.join(map(str, sorted(steps)))}")
    bank.step = steps.pop()
    known = np.zeros(layout.subspace_size, bool)
    for rank, shard in enumerate(shards):
        for piece, home in zip(shard.pieces, homes(shard.pieces), strict=True):
            begin = layout.offsets[piece.tensor]
            there, here = slice(begin + piece.start, begin + piece.stop), slice(home, home + piece.size)
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
