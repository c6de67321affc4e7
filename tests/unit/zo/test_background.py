"""Work beside the scoring: the same numbers as without it, in any order of asking, and errors that are not lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zo_runtime.zo.background import Ahead, Behind
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.method import Method, Update

LAYOUT = BankLayout((TensorShape("q", 40, 3), TensorShape("up", 130, 7)), rank=2, subspaces=2)
METHOD = Method(seed=5, interval=2, directions=2, epsilon=2.0**-10)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 1)), max_size=12))
def test_what_was_foreseen_and_what_was_not_are_the_same_numbers(asked: list[tuple[int, int]]) -> None:
    bank = Bank(LAYOUT, METHOD)
    ahead = Ahead(bank.flat_direction, METHOD.directions)
    for step, direction in asked:
        taken = ahead.take(step, direction)
        assert taken.tobytes() == bank.flat_direction(step, direction).tobytes()


def test_the_next_step_is_drawn_once_and_before_it_is_asked_for() -> None:
    bank, drawn = Bank(LAYOUT, METHOD), []

    def draw(step: int, direction: int) -> np.ndarray:
        drawn.append((step, direction))
        return bank.flat_direction(step, direction)

    ahead = Ahead(draw, METHOD.directions)
    for step in (1, 2, 3):
        for direction in (0, 1, 0):
            ahead.take(step, direction)
        kept = ahead.kept(step)
        assert kept is not None
        assert [one.tobytes() for one in kept] == [bank.flat_direction(step, j).tobytes() for j in (0, 1)]
        assert ahead.kept(step - 1) is None
    ahead._pool.shutdown(wait=True)
    assert drawn == [(s, j) for s in (1, 2, 3, 4) for j in (0, 1)]


def test_a_bank_that_follows_is_the_bank() -> None:
    updates = [Update(t, 0.01, (2.0**-t, -(2.0**-9))) for t in range(1, 9)]
    bank, plain = Bank(LAYOUT, METHOD), Bank(LAYOUT, METHOD)
    behind = Behind(bank)
    assert behind.settle() is bank
    for update in updates:
        behind.apply(update)
        assert behind.step == update.step
    plain.apply(updates)
    assert behind.settle().digest() == plain.digest()


def test_an_update_that_does_not_fit_is_told_when_the_bank_is_asked_for() -> None:
    behind = Behind(Bank(LAYOUT, METHOD))
    for step in (1, 3, 4):
        behind.apply(Update(step, 0.01, (0.5, 0.5)))
    with pytest.raises(ValueError, match="expected the update of step 2"):
        behind.settle()
