"""The sign-flip test: exact where it can be, at its level under the null, and able to see a gain."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zo_runtime.rounds.sign_flip import DRAWS, EXACT_DIFFERENCES, p_value

# Multiples of 1/8: their sums are exact, and equal sums, the hard case, are common.
eighths = st.integers(-20, 20).map(lambda n: n / 8)
small = st.lists(eighths, min_size=1, max_size=12)
Draw = Callable[[np.random.Generator, int], np.ndarray]


def enumerated(differences: list[float]) -> float:
    """The definition, assignment by assignment."""
    observed = sum(differences)
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(total >= observed for total in sums) / len(sums)


@given(small)
def test_a_small_test_is_the_enumeration(differences: list[float]) -> None:
    assert p_value(np.array(differences), 1, 2) == enumerated(differences)


@given(small)
def test_gain_and_loss_share_the_assignments_out(differences: list[float]) -> None:
    """The two one-sided p-values add up to one and the share of assignments with the very same sum."""
    values = np.array(differences)
    observed, n = sum(differences), len(differences)
    same = sum(
        sum(s * d for s, d in zip(signs, differences, strict=True)) == observed
        for signs in itertools.product((1, -1), repeat=n)
    )
    assert p_value(values, 1, 2) + p_value(-values, 1, 2) == 1 + same / 2**n


@given(
    st.lists(st.floats(-5, 5), min_size=EXACT_DIFFERENCES + 1, max_size=200),
    st.randoms(use_true_random=False),
    st.integers(0, 2**53 - 1),
    st.integers(0, 2**31),
)
@settings(max_examples=25, deadline=None)
def test_it_is_deterministic_and_blind_to_the_unit(values: list[float], rng, seed: int, stream: int) -> None:
    found = p_value(np.array(values), seed, stream)
    assert 1 / (1 + DRAWS) <= found <= 1
    assert p_value(np.array(values), seed, stream) == found
    assert p_value(np.array(values) * 2.0**30, seed, stream) == found


def test_more_differences_than_are_enumerated_give_nearly_the_exact_value() -> None:
    values = np.random.default_rng(3).normal(0.3, 1, EXACT_DIFFERENCES)
    exact = p_value(values, 5, 0)
    # Twenty differences that cannot change which sums are reached take the test past enumeration.
    drawn = p_value(np.concatenate([values, np.full(20, 1e-9)]), 5, 0)
    assert 0.02 < exact < 0.5
    assert drawn == pytest.approx(exact, abs=4 * (exact * (1 - exact) / DRAWS) ** 0.5)


def test_a_zero_says_nothing() -> None:
    values = np.array([0.5, -0.25, 1.0])
    assert p_value(np.concatenate([values, np.zeros(100)]), 1, 2) == p_value(values, 1, 2)
    assert p_value(np.zeros(40), 1, 2) == 1
    assert p_value(np.zeros(0), 1, 2) == 1


def test_the_largest_and_the_smallest_numbers() -> None:
    assert p_value(np.full(5, 1e308), 1, 2) == 2**-5
    assert p_value(np.full(5, 5e-324), 1, 2) == 2**-5
    assert p_value(np.full(100, -1e308), 1, 2) == 1


def p_values(draw: Draw, margin: float, examples: int, sets: int) -> np.ndarray:
    rng = np.random.default_rng(11)
    return np.array([p_value(draw(rng, examples) - margin, 7, i) for i in range(sets)])


NULLS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, n: rng.normal(0, 1, n), 0.0),
    "heavy tails": (lambda rng, n: rng.standard_t(2, n), 0.0),
    "skewed": (lambda rng, n: rng.exponential(1, n), 1.0),
    "right or wrong": (lambda rng, n: rng.choice([-1.0, 0.0, 1.0], n, p=[0.1, 0.8, 0.1]), 0.0),
    "right or wrong, at a margin": (lambda rng, n: rng.choice([-1.0, 0.0, 1.0], n, p=[0.05, 0.8, 0.15]), 0.1),
    "non-inferiority": (lambda rng, n: rng.normal(-0.2, 1, n), -0.2),
}


@pytest.mark.parametrize("name", NULLS)
def test_its_level_where_there_is_nothing_to_gain(name: str) -> None:
    found = p_values(*NULLS[name], examples=50, sets=150)
    for level in (0.05, 0.2, 0.5):
        # Four standard deviations: a correct test fails this for less than one seed in 10,000.
        assert np.mean(found <= level) <= level + 4 * (level * (1 - level) / len(found)) ** 0.5


@pytest.mark.parametrize(("gain", "least"), [(0.3, 0.6), (0.6, 0.98)])
def test_its_power(gain: float, least: float) -> None:
    """A t-test at 0.05 on 50 examples sees a gain of 0.3 standard deviations with probability 0.67."""
    found = p_values(lambda rng, n: rng.normal(gain, 1, n), 0.0, examples=50, sets=100)
    assert np.mean(found <= 0.05) >= least
