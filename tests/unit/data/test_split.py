"""The held-out split looks at content only, and equal examples stay together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.config.data import HeldOut
from zo_runtime.data.digest import canonical_bytes, dataset_digest
from zo_runtime.data.examples import Example
from zo_runtime.data.split import split, split_keys

ids = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)
examples = st.builds(Example, ids, st.lists(ids, min_size=1, max_size=2).map(tuple), st.integers(0, 1))
many = st.lists(examples, min_size=1, max_size=60)
by_fraction = st.floats(0, 1).map(lambda fraction: HeldOut(fraction=fraction))
by_number = st.integers(1, 70).map(lambda number: HeldOut(examples=number))
seeds = st.integers(0, 2**64)


@given(many, by_fraction | by_number, seeds)
def test_both_parts_make_up_the_whole_in_order(data: list[Example], held_out: HeldOut, seed: int) -> None:
    train, held = split(data, held_out, seed)
    assert len(train) + len(held) == len(data)
    assert [example for example in data if example in set(held)] == held
    assert [example for example in data if example not in set(held)] == train


@given(many, by_fraction | by_number, seeds)
def test_equal_examples_never_part(data: list[Example], held_out: HeldOut, seed: int) -> None:
    train, held = split(data * 2, held_out, seed)
    assert not set(train) & set(held)


@given(many, many, by_fraction, seeds)
def test_added_records_move_nothing(old: list[Example], new: list[Example], held_out: HeldOut, seed: int) -> None:
    assert set(split(old, held_out, seed)[1]) <= set(split(old + new, held_out, seed)[1])
    assert set(split(old, held_out, seed)[0]) <= set(split(old + new, held_out, seed)[0])


@given(many, many, by_number, seeds)
def test_added_records_never_bring_a_learned_one_into_a_fixed_number(
    old: list[Example], new: list[Example], held_out: HeldOut, seed: int
) -> None:
    learned = set(split(old, held_out, seed)[0])
    assert not learned & set(split(old + new, held_out, seed)[1])


@given(st.lists(examples, min_size=1, max_size=60, unique=True), st.integers(1, 70), seeds)
def test_a_fixed_number_is_met_where_all_differ(data: list[Example], number: int, seed: int) -> None:
    assert len(split(data, HeldOut(examples=number), seed)[1]) == min(number, len(data))


@given(many, seeds)
def test_the_ends_of_the_share(data: list[Example], seed: int) -> None:
    assert split(data, HeldOut(fraction=0.0), seed)[1] == []
    assert split(data, HeldOut(fraction=1.0), seed)[0] == []


def distinct(count: int) -> list[Example]:
    return [Example((number,), ((1,), (2,)), number % 2) for number in range(count)]


def test_the_share_is_met_and_seeds_differ() -> None:
    data = distinct(4000)
    parts = [split(data, HeldOut(fraction=0.1), seed)[1] for seed in range(3)]
    # 400 expected, standard deviation 19
    assert all(320 < len(part) < 480 for part in parts)
    assert len({tuple(part) for part in parts}) == 3


def test_the_keys_never_change_between_versions() -> None:
    assert [int(key) for key in split_keys(distinct(3), 5)] == [
        12355607469828689376,
        9362037516229932656,
        6509601036299029616,
    ]
    assert (
        dataset_digest(distinct(3), distinct(1)) == "9c014a6e02a71810f1eba2367cdbc1294779a0955ac76d9cac0adcc4e12f869c"
    )


@given(examples, examples)
def test_only_equal_examples_have_equal_bytes(one: Example, other: Example) -> None:
    assert (canonical_bytes(one) == canonical_bytes(other)) == (one == other)


@given(many, many)
def test_the_digest_sees_order_and_parts(one: list[Example], other: list[Example]) -> None:
    assert (dataset_digest(one, other) == dataset_digest(other, one)) == (one == other)
    assert (dataset_digest(one + other, []) == dataset_digest(one, other)) == (not other)
