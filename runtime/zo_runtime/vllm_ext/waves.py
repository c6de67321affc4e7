"""Which prompts an engine takes at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """What one model call has room for; `blocks` of the KV cache hold `block_size` tokens each."""

    tokens: int
    prompts: int
    blocks: int
    block_size: int

    def blocks_of(self, length: int) -> int:
        """Blocks that a prompt of that many tokens takes."""
        return -(-length // self.block_size)


def waves(lengths: Sequence[int], room: Room) -> list[range]:
    """Cut prompts of these lengths, in order, into as few calls as there is room for.

    Raises ValueError for a prompt that no call has room for.
    """
    found: list[range] = []
    start = tokens = blocks = 0
    for i, length in enumerate(lengths):
        need = room.blocks_of(length)
        if length > room.tokens or need > room.blocks:
            raise ValueError(f"a prompt of {length} tokens is more than one call has room for, {room}")
        if i > start and (tokens + length > room.tokens or blocks + need > room.blocks or i - start == room.prompts):
            found.append(range(start, i))
            start, tokens, blocks = i, 0, 0
        tokens, blocks = tokens + length, blocks + need
    if start < len(lengths):
        found.append(range(start, len(lengths)))
    return found
