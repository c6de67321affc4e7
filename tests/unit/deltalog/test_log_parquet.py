"""Segments and metrics hold any steps exactly, for any number of directions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zo_runtime.deltalog.checked_json import sha256
from zo_runtime.deltalog.documents import ObjectRef
from zo_runtime.deltalog.parquet import decode_metrics, decode_segment, encode_metrics, encode_segment
from zo_runtime.deltalog.rows import StepRow
from zo_runtime.errors import LogCorrupt
from zo_runtime.zo.estimator import round_coefficient

floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
seconds = st.floats(0, 1e6, width=32)


@st.composite
def rows(draw: st.DrawFn) -> list[StepRow]:
    directions, first = draw(st.integers(1, 64)), draw(st.integers(1, 2**31 - 100))
    each = st.tuples(*[floats] * directions)
    coefficients = st.tuples(*[st.floats(-(2.0**126), 2.0**126, width=32)] * directions)
    return [
        StepRow(
            first + i,
            draw(each),
            draw(each),
            tuple(round_coefficient(c) for c in draw(coefficients)),
            draw(floats),
            draw(st.integers(0, 2**62)),
            draw(seconds),
            draw(st.integers(0, 2**31 - 1)),
        )
        for i in range(draw(st.integers(1, 4)))
    ]


def ref_of(steps: list[StepRow], data: bytes) -> ObjectRef:
    return ObjectRef(key="k", first=steps[0].step, last=steps[-1].step, size=len(data), sha256=sha256(data))


@settings(max_examples=40)
@given(rows())
def test_rows_come_back_exactly(steps: list[StepRow]) -> None:
    data, beside = encode_segment(steps), encode_metrics(steps)
    segment = decode_segment(data, ref_of(steps, data), len(steps[0].coefficients))
    assert segment.rows(decode_metrics(beside, ref_of(steps, beside))) == steps
    assert segment.updates() == [row.update() for row in steps]
    assert encode_segment(steps) == data, "the same steps are the same bytes"


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" * 8, encode_metrics([StepRow(1, (0,), (0,), (0,), 0, 0)])])
def test_what_is_no_segment_is_refused(data: bytes) -> None:
    ref = ObjectRef(key="segments/x", first=1, last=1, size=1, sha256="0" * 64)
    with pytest.raises(LogCorrupt, match=r"segments/x (is not a Parquet file|does not have the columns step, dir)"):
        decode_segment(data, ref, 1)
