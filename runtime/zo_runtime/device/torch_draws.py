"""Directions in torch operations, for devices that have no Triton: slower, and a second reference.

Philox runs on 64-bit integers, whose products wrap modulo 2^64 on every device; all pieces are one tensor operation
each round. Sums and products are separate operations and so never fused into one rounding, except where the product
is exact and fusing changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from zo_runtime.zo.directions import BLOCKS_PER_TILE, TILE
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.philox import MULTIPLIERS, ROUNDS, WEYL, split_seed
from zo_runtime.zo.pieces import Piece

_MASK = 0xFFFFFFFF


class TorchDraws:
    """`Draws` in torch operations."""

    def __init__(self, pieces: Sequence[Piece], device: torch.device):
        blocks, tensors, picks, drawn = [], [], [], 0
        for piece in pieces:
            first, last = piece.start // TILE, -(-piece.stop // TILE)
            blocks.append(torch.arange(first * BLOCKS_PER_TILE, last * BLOCKS_PER_TILE))
            tensors.append(torch.full_like(blocks[-1], piece.tensor))
            picks.append(torch.arange(piece.start, piece.stop) + (drawn - first * TILE))
            drawn += (last - first) * TILE
        self._block = torch.cat(blocks).to(device)
        self._tensor = torch.cat(tensors).to(device)
        self._pick = torch.cat(picks).to(device)

    def draw(self, method: Method, step: int, direction: int) -> torch.Tensor:
        halves = self._halves(method.seed, step, direction)
        if method.distribution == "rademacher":
            values = 1 - 2 * (halves & 1)
            return values.to(torch.float32)[self._pick]
        v = halves - (halves >> 1 & 0x5555)
        v = (v & 0x3333) + (v >> 2 & 0x3333)
        v = v + (v >> 4) & 0x0F0F
        v = v + (v >> 8) & 0x1F
        return ((v - 8).to(torch.float32) * 0.5)[self._pick]

    def apply(
        self, values: torch.Tensor, momentum: torch.Tensor | None, run: Sequence[Update], method: Method
    ) -> None:
        for update in run:
            if momentum is not None and method.momentum is not None:
                momentum.mul_(method.momentum)
            if method.weight_decay:
                values.mul_(method.kept(update.learning_rate))
            sign, target = (-1.0, values) if momentum is None else (1.0, momentum)
            for j, coefficient in enumerate(update.coefficients):
                if coefficient:
                    target.add_(self.draw(method, update.step, j), alpha=sign * coefficient)
            if momentum is not None:
                product = momentum * update.learning_rate
                values.sub_(product)

    def _halves(self, seed: int, step: int, direction: int) -> torch.Tensor:
        """Half-words [tiles * 128] in the order that `zo.directions` defines."""
        key0, key1 = split_seed(seed)
        c0, c1 = self._block, self._tensor
        c2, c3 = torch.full_like(c0, step), torch.full_like(c0, direction)
        for _ in range(ROUNDS):
            p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
            c0, c1, c2, c3 = (
                (p1 >> 32 & _MASK) ^ c1 ^ key0,
                p1 & _MASK,
                (p0 >> 32 & _MASK) ^ c3 ^ key1,
                p0 & _MASK,
            )
            key0, key1 = key0 + WEYL[0] & _MASK, key1 + WEYL[1] & _MASK
        words = torch.stack([c0, c1, c2, c3], dim=1).view(-1, BLOCKS_PER_TILE, 4)
        halves = torch.stack([words & 0xFFFF, words >> 16], dim=-1).view(-1, BLOCKS_PER_TILE, 8)
        return halves.transpose(1, 2).reshape(-1)
