"""Waves: every prompt once, in order, never more than there is room for, and no more calls than that takes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.vllm_ext.waves import Room, waves

ROOMS = st.builds(
    Room,
    tokens=st.integers(8, 40),
    prompts=st.integers(1, 6),
    blocks=st.integers(2, 12),
    block_size=st.integers(4, 8),
)


def fits(part: list[int], room: Room) -> bool:
    blocks = sum(-(-n // room.block_size) for n in part)
    return sum(part) <= room.tokens and len(part) <= room.prompts and blocks <= room.blocks


@given(ROOMS, st.lists(st.integers(1, 8), max_size=20))
def test_every_prompt_has_its_turn_and_its_room(room: Room, lengths: list[int]) -> None:
    cut = waves(lengths, room)
    assert [i for wave in cut for i in wave] == list(range(len(lengths)))
    assert all(len(wave) > 0 and fits([lengths[i] for i in wave], room) for wave in cut)
    for before, after in itertools.pairwise(cut):
        longer = [lengths[i] for i in before] + [lengths[after[0]]]
        assert not fits(longer, room), "the next prompt had room in this call"


def test_a_prompt_that_no_call_has_room_for_is_refused() -> None:
    with pytest.raises(ValueError, match="a prompt of 9 tokens"):
        waves([1, 9], Room(tokens=8, prompts=4, blocks=9, block_size=4))
    with pytest.raises(ValueError, match="a prompt of 8 tokens"):
        waves([8], Room(tokens=8, prompts=4, blocks=1, block_size=4))
