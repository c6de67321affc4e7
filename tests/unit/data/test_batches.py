"""The order of batches: fixed numbers, and what must hold for all sizes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.data.batches import BatchOrder, epoch_order, splitmix64

sizes, steps = st.integers(1, 60), st.integers(1, 50)


def test_splitmix64_matches_the_published_generator() -> None:
    assert [int(value) for value in splitmix64(1234567, 5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert int(splitmix64(0, 1)[0]) == 0xE220A8397B1DCDAF
    assert len(set(splitmix64(2**64 - 1, 10_000).tolist())) == 10_000


def test_the_order_never_changes_between_versions() -> None:
    assert epoch_order(0, 0, 12).tolist() == [0, 4, 8, 5, 1, 11, 2, 9, 7, 3, 6, 10]
    assert epoch_order(7, 3, 12).tolist() == [11, 5, 3, 6, 2, 8, 7, 1, 10, 9, 0, 4]


@given(seed=st.integers(0, 2**70), size=sizes, batch_size=sizes, epochs=st.integers(1, 4))
def test_each_epoch_draws_each_example_once(seed: int, size: int, batch_size: int, epochs: int) -> None:
    order = BatchOrder(seed, size, batch_size)
    count = -(-epochs * size // batch_size)
    drawn = [index for step in range(1, count + 1) for index in order.indices(step)]
    assert len(drawn) == count * batch_size
    for epoch in range(epochs):
        assert sorted(drawn[epoch * size : (epoch + 1) * size]) == list(range(size))


@given(seed=st.integers(0, 2**64 - 1), size=sizes, batch_size=sizes, step=steps, before=st.lists(steps, max_size=4))
def test_a_step_does_not_depend_on_what_was_asked_before(
    seed: int, size: int, batch_size: int, step: int, before: list[int]
) -> None:
    used = BatchOrder(seed, size, batch_size)
    for other in before:
        used.indices(other)
    assert used.indices(step) == BatchOrder(seed, size, batch_size).indices(step)
    assert used.cursor(step) == (step - 1) * batch_size


@given(size=sizes, batch_size=sizes, step=steps)
def test_the_cursor_says_where_a_step_begins(size: int, batch_size: int, step: int) -> None:
    """The same stream of draws, cut into batches of one, passes through the same examples."""
    order, single = BatchOrder(3, size, batch_size), BatchOrder(3, size, 1)
    start = order.cursor(step)
    assert order.indices(step) == [single.indices(start + k + 1)[0] for k in range(batch_size)]


def test_seeds_and_epochs_give_orders_of_their_own() -> None:
    orders = {tuple(epoch_order(seed, epoch, 50)) for seed in range(20) for epoch in range(20)}
    assert len(orders) == 400


def test_places_are_evenly_spread() -> None:
    """Chi-square over where example 0 stands in 4000 orders of 8: 7 degrees of freedom, 0.1 % point 24.3."""
    places = Counter(int(epoch_order(seed, 0, 8).tolist().index(0)) for seed in range(4000))
    assert sum((places[place] - 500) ** 2 / 500 for place in range(8)) < 24.3


@pytest.mark.parametrize("arguments", [(-1, 1, 1), (0, 0, 1), (0, 1, 0)])
def test_refuses_what_has_no_order(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no order of batches"):
        BatchOrder(*arguments)


def test_steps_count_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        BatchOrder(0, 1, 1).indices(0)
