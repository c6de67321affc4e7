"""Streams of a log's steps in order, fetched several objects at a time and verified before use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zo_runtime.deltalog.documents import ObjectRef
from zo_runtime.deltalog.fetch import fetch, in_order
from zo_runtime.deltalog.parquet import Segment, StepCosts, decode_metrics, decode_segment
from zo_runtime.errors import LogCorrupt
from zo_runtime.storage.protocol import ObjectStore


def stream_segments(
    store: ObjectStore, refs: Sequence[ObjectRef], directions: int, first: int, last: int
) -> Iterator[Segment]:
    """The steps `first`..`last`, a segment at a time. Raise `NotFound` for one that is gone, `LogCorrupt`."""

    def load(ref: ObjectRef) -> Segment:
        return decode_segment(fetch(store, ref), ref, directions).between(first, last)

    return in_order(load, overlapping(refs, first, last))


def stream_with_metrics(
    store: ObjectStore,
    segments: Sequence[ObjectRef],
    metrics: Sequence[ObjectRef],
    directions: int,
    first: int,
    last: int,
) -> Iterator[tuple[Segment, StepCosts]]:
    """The same with each step's time and tokens."""

    def load(pair: tuple[ObjectRef, ObjectRef]) -> tuple[Segment, StepCosts]:
        ref, beside = pair
        if (ref.first, ref.last) != (beside.first, beside.last):
            raise LogCorrupt(f"{beside.key} does not cover the steps of {ref.key}")
        segment = decode_segment(fetch(store, ref), ref, directions)
        values = decode_metrics(fetch(store, beside), beside)
        return segment.between(first, last), values.between(segment.steps, first, last)

    pairs = zip(overlapping(segments, first, last), overlapping(metrics, first, last), strict=True)
    return in_order(load, pairs)


def overlapping(refs: Sequence[ObjectRef], first: int, last: int) -> list[ObjectRef]:
    """The objects that hold any of the steps `first`..`last`."""
    return [ref for ref in refs if ref.first <= last and ref.last >= first]
