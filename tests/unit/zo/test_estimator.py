"""The estimator's exactness, which bit-exact replay stands on."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.zo.estimator import (
    SMALLEST,
    clip,
    coefficients,
    learning_rate,
    power_of_two,
    projected_gradient,
    round_coefficient,
)

finite = st.floats(-1e30, 1e30, allow_nan=False)


@given(finite)
def test_a_rounded_coefficient_times_any_level_is_exact_in_float32(value: float) -> None:
    c = round_coefficient(value)
    for level in range(-8, 9):
        exact = Fraction(c) * Fraction(level, 2)
        assert Fraction(float(np.float32(c) * np.float32(level / 2))) == exact


@given(finite)
def test_rounding_is_close_and_idempotent(value: float) -> None:
    c = round_coefficient(value)
    assert round_coefficient(c) == c
    if abs(value) >= SMALLEST:
        assert abs(c - value) <= abs(value) * 2.0**-20
    else:
        assert c == 0.0


@given(finite)
def test_rounding_is_odd(value: float) -> None:
    assert round_coefficient(-value) == -round_coefficient(value)


@given(st.floats(1e-12, 1e6))
def test_epsilon_becomes_a_power_of_two_within_a_factor_of_root_two(epsilon: float) -> None:
    p = power_of_two(epsilon)
    assert np.frexp(p)[0] == 0.5
    assert 2**-0.5001 <= p / epsilon <= 2**0.5001


@given(finite, st.floats(1e-6, 1e6))
def test_clip_bounds_and_keeps_the_sign(g: float, bound: float) -> None:
    assert abs(clip(g, bound)) <= bound
    assert clip(g, None) == g
    assert clip(g, bound) * g >= 0


def test_projected_gradient_of_a_line_is_its_slope() -> None:
    slope, eps = 3.0, 2.0**-10
    assert projected_gradient(5 + slope * eps, 5 - slope * eps, eps) == slope


def test_cosine_goes_from_the_base_to_almost_zero() -> None:
    rates = [learning_rate(1e-3, "cosine", s, 100) for s in range(1, 101)]
    assert rates[0] == float(np.float32(1e-3))
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 1e-6
    assert learning_rate(1e-3, "constant", 50, 100) == float(np.float32(1e-3))


def test_coefficients_average_over_directions_and_weigh_momentum() -> None:
    assert coefficients([2.0, -4.0], 0.5, None) == (0.5, -1.0)
    assert coefficients([2.0, -4.0], 0.5, 0.75) == (0.25, -0.5)
