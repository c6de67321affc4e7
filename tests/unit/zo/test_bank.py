"""The bank's update against exact arithmetic, and its digest under threads and partial replays."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.methods import make_updates, methods
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.directions import Stream, draw_reference
from zo_runtime.zo.layout import BankLayout, TensorShape, select_targets, subspace_of
from zo_runtime.zo.method import Method, Update

LAYOUT = BankLayout((TensorShape("a.q_proj", 5, 3), TensorShape("a.fc1", 130, 7)), rank=2, subspaces=3)


def nearest(x: Fraction) -> Fraction:
    """x rounded to float32, exactly: half the spacing decides, ties go to even."""
    if x == 0:
        return x
    shift = 0
    m = abs(x)
    while m >= 2**24:
        m, shift = m / 2, shift + 1
    while m < 2**23:
        m, shift = m * 2, shift - 1
    n = round(m)  # Python rounds ties of a Fraction to even
    return (1 if x > 0 else -1) * n * Fraction(2) ** shift


@settings(max_examples=25)
@given(methods, st.integers(1, 9))
def test_update_is_the_documented_arithmetic(method: Method, steps: int) -> None:
    """Replays the first layer in exact fractions, rounding just where the docstring says."""
    bank, updates = Bank(LAYOUT, method), make_updates(method, steps)
    bank.apply(updates)
    size = 10
    b = [[Fraction(0)] * size for _ in range(3)]
    m = [[Fraction(0)] * size for _ in range(3)]
    beta = None if method.momentum is None else Fraction(float(np.float32(method.momentum)))
    for u in updates:
        k = subspace_of(u.step, method.interval, 3)
        lr = Fraction(u.learning_rate)
        decay = Fraction(float(np.float32(1 - u.learning_rate * method.weight_decay)))
        draws = [draw_reference(Stream(method.seed, 0, u.step, j, method.distribution), size) for j in
                 range(method.directions)]  # fmt: skip
        for e in range(size):
            if beta is not None:
                m[k][e] = nearest(m[k][e] * beta)
            if method.weight_decay:
                b[k][e] = nearest(b[k][e] * decay)
            for c, draw in zip(u.coefficients, draws, strict=True):
                term = Fraction(c) * Fraction(float(draw[e]))
                if beta is None:
                    b[k][e] = nearest(b[k][e] - term)
                else:
                    m[k][e] = nearest(m[k][e] + term)
            if beta is not None:
                b[k][e] = nearest(b[k][e] - nearest(lr * m[k][e]))
    got = bank.values[:, :size]
    assert [[Fraction(float(v)) for v in row] for row in got] == b


@settings(max_examples=25)
@given(methods, st.integers(0, 12), st.integers(0, 12), st.integers(1, 4))
def test_threads_and_pauses_change_nothing(method: Method, first: int, rest: int, threads: int) -> None:
    updates = make_updates(method, first + rest)
    whole, parts = Bank(LAYOUT, method), Bank(LAYOUT, method)
    whole.apply(updates)
    parts.apply(updates[:first], threads)
    parts.apply(updates[first:], threads)
    assert parts.digest() == whole.digest()


@settings(max_examples=25)
@given(methods, st.integers(1, 9))
def test_directions_at_hand_give_the_same_bits(method: Method, steps: int) -> None:
    drawn, plain = Bank(LAYOUT, method), Bank(LAYOUT, method)
    updates = make_updates(method, steps)
    plain.apply(updates)
    for update in updates:
        directions = [drawn.flat_direction(update.step, j) for j in range(method.directions)]
        drawn.apply_drawn(update, directions)
    assert drawn.digest() == plain.digest()
    with pytest.raises(ValueError, match=f"expected the update of step {steps + 1}, got step {steps + 2}"):
        drawn.apply_drawn(Update(steps + 2, 1e-3, (0.5,) * method.directions), [])


def test_digest_tells_states_apart() -> None:
    method = Method(seed=1, interval=2, directions=1, epsilon=2.0**-10)
    seen = set()
    bank = Bank(LAYOUT, method)
    for update in make_updates(method, 5):
        bank.apply([update])
        seen.add(bank.digest())
    assert len(seen) == 5
    bank.values[2, 3] = np.nextafter(bank.values[2, 3], np.float32(1))
    assert bank.digest() not in seen


@pytest.mark.parametrize("step", [1, 3])
def test_a_gap_or_a_repeat_is_refused(step: int) -> None:
    bank = Bank(LAYOUT, Method(seed=1, interval=2, directions=1, epsilon=2.0**-10))
    bank.apply([Update(1, 1e-3, (0.0,))])
    with pytest.raises(ValueError, match=f"expected the update of step 2, got step {step}"):
        bank.apply([Update(step, 1e-3, (0.0,))])


@settings(max_examples=25)
@given(methods, st.integers(0, 9), st.integers(1, 9), st.integers(0, 9), st.integers(1, 4))
def test_an_update_may_continue_from_an_earlier_step(
    method: Method, base: int, aside: int, rest: int, threads: int
) -> None:
    """The steps that were left aside do not matter, only that the later ones have their own numbers."""
    updates = make_updates(method, base + aside + rest)
    later = updates[base + aside :]
    one, many = Bank(LAYOUT, method), Bank(LAYOUT, method)
    one.apply(updates[:base])
    twin = one.copy()
    many.apply([*updates[:base], *(replace(u, after=base) for u in later[:1]), *later[1:]], threads)
    for update in later:
        one.step = update.step - 1
        one.apply([update])
    assert many.digest() == one.digest()
    assert twin.step == base
    if later:
        with pytest.raises(ValueError, match=f"expected the update of step {base + 1}, got step {later[0].step}"):
            twin.apply(later)


def test_subspaces_take_turns() -> None:
    assert [subspace_of(t, 2, 3) for t in range(1, 9)] == [0, 0, 1, 1, 2, 2, 0, 0]


def test_targets_keep_the_models_order() -> None:
    shapes = [TensorShape("l.0.v_proj", 1, 1), TensorShape("l.0.q_proj", 1, 1), TensorShape("lm_head", 1, 1)]
    assert [t.name for t in select_targets(shapes, ["q_proj", "v_proj"])] == ["l.0.v_proj", "l.0.q_proj"]
