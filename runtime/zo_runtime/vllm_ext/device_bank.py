"""The bank in device memory: `zo.bank` and `zo.directions` in torch operations, bit for bit.

Philox runs on 64-bit integers, whose products wrap modulo 2^64 on every device; a whole direction, all layers, is
one tensor operation each round. Sums and products are separate operations and so never fused into one rounding,
except where the product is exact and fusing changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from zo_runtime.zo.directions import BASIS, BLOCKS_PER_TILE, TILE, Distribution
from zo_runtime.zo.layout import BankLayout, subspace_of
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.philox import MULTIPLIERS, ROUNDS, WEYL, split_seed

_MASK = 0xFFFFFFFF


class FlatStream:
    """Draws the concatenation of the first `sizes[i]` numbers of tensors i = 0, 1, ... in one go."""

    def __init__(self, sizes: Sequence[int], first_tensor: int, device: torch.device):
        blocks, tensors, picks, start = [], [], [], 0
        for i, size in enumerate(sizes):
            tiles = -(-size // TILE)
            count = tiles * BLOCKS_PER_TILE
            blocks.append(torch.arange(count))
            tensors.append(torch.full((count,), first_tensor + i))
            picks.append(torch.arange(start, start + size))
            start += tiles * TILE
        self._block = torch.cat(blocks).to(device)
        self._tensor = torch.cat(tensors).to(device)
        self._pick = torch.cat(picks).to(device)

    def draw(self, seed: int, step: int, direction: int, distribution: Distribution) -> torch.Tensor:
        """The numbers, float32."""
        halves = self._halves(seed, step, direction)
        if distribution == "rademacher":
            values = 1 - 2 * (halves & 1)
            return values.to(torch.float32)[self._pick]
        v = halves - (halves >> 1 & 0x5555)
        v = (v & 0x3333) + (v >> 2 & 0x3333)
        v = v + (v >> 4) & 0x0F0F
        v = v + (v >> 8) & 0x1F
        return ((v - 8).to(torch.float32) * 0.5)[self._pick]

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


class DeviceBank:
    """B_k of every layer as one float32 tensor [K, subspace_size] on a device, with the momentum if any."""

    def __init__(self, layout: BankLayout, method: Method, device: torch.device):
        shape = (layout.subspaces, layout.subspace_size)
        self._layout, self._method, self._device = layout, method, device
        self._step = 0
        self._values = torch.zeros(shape, device=device)
        self._momentum = None if method.momentum is None else torch.zeros(shape, device=device)
        self._stream = FlatStream([t.out_features * layout.rank for t in layout.tensors], 0, device)

    def apply(self, updates: Sequence[Update]) -> None:
        """Apply the next updates: the arithmetic of `zo.bank.apply_update`."""
        method = self._method
        for update in updates:
            if update.previous != self._step:
                raise ValueError(f"expected the update of step {self._step + 1}, got step {update.step}")
            k = subspace_of(update.step, method.interval, self._layout.subspaces)
            values = self._values[k]
            momentum = None if self._momentum is None else self._momentum[k]
            if momentum is not None and method.momentum is not None:
                momentum.mul_(method.momentum)
            if method.weight_decay:
                values.mul_(1.0 - update.learning_rate * method.weight_decay)
            for j, coefficient in enumerate(update.coefficients):
                if coefficient and momentum is not None:
                    momentum.add_(self.direction(update.step, j), alpha=coefficient)
                elif coefficient:
                    values.add_(self.direction(update.step, j), alpha=-coefficient)
            if momentum is not None:
                product = momentum * update.learning_rate
                values.sub_(product)
            self._step = update.step

    def subspace(self, k: int) -> torch.Tensor:
        """All B_k, flat."""
        return self._values[k]

    def direction(self, step: int, direction: int) -> torch.Tensor:
        """All U of one direction, flat."""
        return self._stream.draw(self._method.seed, step, direction, self._method.distribution)

    def basis(self, tensor: int, k: int) -> torch.Tensor:
        """A_k of one layer."""
        rank, in_features = self._layout.rank, self._layout.tensors[tensor].in_features
        stream = FlatStream([rank * in_features], tensor, self._device)
        return stream.draw(self._method.seed, k, BASIS, self._method.distribution).view(rank, in_features)

    def digest(self) -> str:
        """`Bank.digest` of the same state."""
        sha = hashlib.sha256(self._layout.digest_header(self._step))
        for array in (self._values, self._momentum):
            if array is not None:
                sha.update(array.cpu().numpy().astype("<f4", copy=False).tobytes())
        return sha.hexdigest()
