"""Thinning keeps what the eye looks for, and the moving average is the mean it says it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zo_runtime.report.model import StepSeries
from zo_runtime.report.series import MAX_POINTS, moving_average, smoothing_window, thin, usual_range

VALUES = arrays(np.float64, st.integers(0, 300), elements=st.floats(-1e6, 1e6) | st.just(float("nan")))


@given(VALUES, st.integers(20, 60))
def test_thinning_keeps_the_extremes_the_ends_and_the_order(y: np.ndarray, limit: int) -> None:
    x = np.arange(float(len(y)))
    thin_x, thin_y = thin(x, y, limit)
    finite = y[np.isfinite(y)]
    assert len(thin_y) == len(thin_x) == min(len(finite), len(thin_y)) <= limit
    assert np.array_equal(thin_y, y[thin_x.astype(int)])
    assert np.all(np.diff(thin_x) > 0)
    if len(finite):
        assert {finite.min(), finite.max(), finite[0], finite[-1]} <= set(thin_y)


def test_thinned_noise_looks_like_the_noise() -> None:
    y = np.random.default_rng(0).normal(0, 1, 100_000)
    thinned = thin(np.arange(100_000.0), y)[1]
    assert len(thinned) <= MAX_POINTS
    middle = np.mean(np.abs(thinned) < 0.67)  # half of a normal distribution
    assert 0.35 < middle < 0.55


@given(VALUES, st.integers(0, 9).map(lambda half: 2 * half + 1))
def test_the_moving_average_is_the_mean_of_the_finite_values_around(y: np.ndarray, window: int) -> None:
    half = window // 2
    averages = moving_average(y, window)
    assert averages.shape == y.shape
    for index, average in enumerate(averages):
        around = y[max(0, index - half) : index + half + 1]
        around = around[np.isfinite(around)]
        if len(around):
            assert average == pytest.approx(around.mean(), rel=1e-6, abs=1e-6)
        else:
            assert np.isnan(average)


def test_the_window_is_odd_and_grows_with_the_run() -> None:
    assert [smoothing_window(points) for points in (1, 100, 101, 2000, 20_000)] == [5, 5, 5, 101, 1001]


def test_the_usual_range_leaves_out_one_far_outlier_and_nothing_else() -> None:
    y = np.linspace(1, 2, 1000)
    assert usual_range(y) == (1, 2)
    assert usual_range(np.append(y, 50)) == (1, 2)
    assert usual_range(np.array([3.0, np.nan])) == (3, 3)


def test_columns_of_different_lengths_are_refused() -> None:
    one, two = np.zeros(1), np.zeros(2)
    with pytest.raises(ValueError, match="different shapes"):
        StepSeries(one, two, two, two, two, two)
