"""Directions: random matrices that every device draws to the same last bit.

**Counter.** (block, tensor, step, direction), keyed by the run's seed. The fixed matrices A_k use the direction
`BASIS` and the subspace's index in the place of the step; the gate's random signs use the direction `SIGNS`.

**Elements.** A tensor of n numbers, flat in row-major order, is cut into tiles of 128. A tile takes 16 consecutive
blocks (the last tile is drawn whole and cut). Number e of a tile comes from the block e mod 16 of the tile, from
half-word e div 16 of that block: word 0 low half, word 0 high half, word 1 low half, and so on. So 16 neighbours
come from 16 counters, which is what a SIMD register or a warp computes at once.

**Distributions.** `binomial16`: (popcount of the 16 bits - 8) / 2, mean 0, variance 1, kurtosis 2.875, 17 levels
that bf16, fp16 and fp8 hold without rounding. `rademacher`: +1 where the lowest bit is 0, else -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from zo_runtime.zo.philox import philox4x32, split_seed

Distribution = Literal["binomial16", "rademacher"]
TILE = 128
BLOCKS_PER_TILE = 16
BASIS = 0xFFFFFFFF
SIGNS = 0xFFFFFFFE


@dataclass(frozen=True, slots=True)
class Stream:
    """Names one random matrix of a run: `step` >= 1 and `direction` >= 0, or a subspace and `BASIS`."""

    seed: int
    tensor: int
    step: int
    direction: int
    distribution: Distribution = "binomial16"


def basis_stream(seed: int, tensor: int, subspace: int, distribution: Distribution) -> Stream:
    """The stream of the fixed matrix A_k of one layer."""
    return Stream(seed, tensor, subspace, BASIS, distribution)


def draw_reference(stream: Stream, size: int) -> npt.NDArray[np.float32]:
    """Draw the first `size` numbers of a stream: the definition, in plain NumPy."""
    tiles = -(-size // TILE)
    counter = np.empty((tiles * BLOCKS_PER_TILE, 4), np.uint32)
    counter[:, 0] = np.arange(len(counter), dtype=np.uint32)
    counter[:, 1:] = stream.tensor, stream.step, stream.direction
    words = philox4x32(counter, split_seed(stream.seed)).reshape(tiles, BLOCKS_PER_TILE, 4)
    halves = np.stack([words & np.uint32(0xFFFF), words >> np.uint32(16)], axis=-1)  # [tiles, 16, 4, 2]
    halves = halves.reshape(tiles, BLOCKS_PER_TILE, 8).transpose(0, 2, 1).reshape(-1)[:size]
    if stream.distribution == "rademacher":
        return (1 - 2 * (halves & np.uint32(1)).astype(np.int32)).astype(np.float32)
    counts = np.bitwise_count(halves).astype(np.int32)
    return ((counts - 8).astype(np.float32)) * np.float32(0.5)
