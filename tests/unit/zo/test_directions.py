"""Directions: the fast kernels against the definition, and the definition against its promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.zo import native
from zo_runtime.zo.directions import BASIS, Stream, draw_reference
from zo_runtime.zo.philox import philox4x32

u32 = st.integers(0, 2**32 - 1)
streams = st.builds(
    Stream,
    seed=st.integers(0, 2**64 - 1),
    tensor=u32,
    step=u32,
    direction=st.one_of(u32, st.just(BASIS)),
    distribution=st.sampled_from(["binomial16", "rademacher"]),
)


@given(streams, st.integers(1, 1000))
def test_native_draws_the_reference(stream: Stream, size: int) -> None:
    assert native.draw(stream, size).tobytes() == draw_reference(stream, size).tobytes()


@given(streams, st.integers(1, 600), st.integers(1, 600))
def test_a_longer_draw_begins_with_the_shorter(stream: Stream, a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert np.array_equal(draw_reference(stream, high)[:low], draw_reference(stream, low))


@given(streams, st.integers(0, 9999))
def test_any_number_can_be_drawn_alone(stream: Stream, e: int) -> None:
    """The documented address of number e: tile, block, half-word."""
    tile, inside = divmod(e, 128)
    half, lane = divmod(inside, 16)
    key = (stream.seed & 0xFFFFFFFF, stream.seed >> 32)
    counter = [[tile * 16 + lane, stream.tensor, stream.step, stream.direction]]
    word = int(philox4x32(np.array(counter, np.uint32), key)[0, half // 2])
    bits = word >> 16 * (half % 2) & 0xFFFF
    want = (bits.bit_count() - 8) / 2 if stream.distribution == "binomial16" else 1 - 2 * (bits & 1)
    assert draw_reference(stream, e + 1)[e] == want


@pytest.mark.parametrize(("distribution", "kurtosis"), [("binomial16", 2.875), ("rademacher", 1.0)])
def test_moments(distribution: str, kurtosis: float) -> None:
    x = native.draw(Stream(7, 1, 1, 0, distribution), 4_000_000).astype(np.float64)  # type: ignore[arg-type]
    # Standard errors at n = 4e6: mean 5e-4, variance 7e-4, fourth moment about 5e-3; six of each.
    assert abs(x.mean()) < 3e-3
    assert abs(x.var() - 1) < 4.2e-3
    assert abs((x**4).mean() - kurtosis) < 3e-2


def test_streams_do_not_overlap() -> None:
    """Neighbours in every coordinate are uncorrelated: |r| < 6 / sqrt(n)."""
    n = 1_000_000
    base = native.draw(Stream(3, 5, 9, 1), n)
    others = [Stream(4, 5, 9, 1), Stream(3, 6, 9, 1), Stream(3, 5, 10, 1), Stream(3, 5, 9, 2), Stream(3, 5, 9, BASIS)]
    for other in others:
        assert abs(float(np.mean(base * native.draw(other, n)))) < 6e-3


@pytest.mark.parametrize("dtype_bits", [4])
def test_levels_need_few_bits(dtype_bits: int) -> None:
    """Every level is an integer below 2^4 times one half: exact in bf16, fp16 and fp8."""
    levels = native.draw(Stream(1, 1, 1, 1), 100_000) * 2
    assert set(np.unique(levels)) <= set(range(-8, 9))
    assert np.abs(levels).max() < 2**dtype_bits
