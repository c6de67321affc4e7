"""Ticks are round, in range, told apart by their labels; scales stay inside the plot."""

import numpy as np
from hypothesis import assume, example, given
from hypothesis import strategies as st

from zo_runtime.report.scales import Scale, tick_labels, ticks, widened

NUMBERS = st.floats(-1e9, 1e9)


@given(NUMBERS, NUMBERS, st.integers(3, 12))
def test_ticks_are_in_range_evenly_spaced_and_labelled_apart(low: float, high: float, count: int) -> None:
    assume(high - low > 1e-6 * max(abs(low), abs(high), 1e-6))
    values = ticks(low, high, count)
    span = high - low
    assert 1 <= len(values) <= count + 2
    assert all(low - 1e-5 * span <= value <= high + 1e-5 * span for value in values)
    assert np.allclose(np.diff(values), np.diff(values)[:1], rtol=1e-3)


@example(0.001, 0.05, 10)
@given(st.floats(0.001, 1e5), st.floats(0.05, 1), st.integers(3, 12))
def test_labels_differ_and_say_the_value(low: float, share: float, count: int) -> None:
    values = ticks(low, low * (1 + share), count)
    labels = tick_labels(values, "number")
    assert len(set(labels)) == len(labels)
    step = min(np.diff(values), default=1.0)
    assert all(abs(float(label) - value) <= step / 2 for label, value in zip(labels, values, strict=True))


def test_labels_as_people_write_them() -> None:
    assert tick_labels(ticks(0.5, 0.76, 6), "percent") == ["50%", "55%", "60%", "65%", "70%", "75%"]
    assert tick_labels(ticks(0.54, 0.548, 5), "percent")[:2] == ["54.0%", "54.2%"]
    assert tick_labels(ticks(0, 20_000, 5, "count"), "count") == ["0", "5,000", "10,000", "15,000", "20,000"]
    assert tick_labels(ticks(0, 2, 8, "count"), "count") == ["0", "1", "2"]
    assert tick_labels(ticks(-500, 500, 5), "number") == ["\u2212400", "\u2212200", "0", "200", "400"]
    assert tick_labels([0.0, 1e-5], "number") == ["0", "1e-05"]


@given(NUMBERS, NUMBERS)
def test_a_widened_range_holds_the_old_one_and_is_never_empty(one: float, other: float) -> None:
    low, high = sorted((one, other))
    wide_low, wide_high = widened(low, high)
    assert wide_low <= low <= high <= wide_high
    assert wide_low < wide_high


@given(NUMBERS, st.floats(0.001, 1e9), st.lists(NUMBERS, min_size=1, max_size=5))
def test_a_scale_stays_inside_its_pixels(low: float, span: float, values: list[float]) -> None:
    assume(low + span > low)
    pixels = Scale(low, low + span, 40, 500)(np.array(values))
    assert np.all((pixels >= 40) & (pixels <= 500))
