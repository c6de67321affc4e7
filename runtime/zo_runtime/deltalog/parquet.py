"""The tables of a log as Parquet: small, and read by pandas and DuckDB as they are.

Sizes come from the encodings: steps and cursors cost next to nothing as differences, and floats are split into
their four bytes, whose upper ones repeat. There are no statistics and no Arrow schema in the footer, which would
outweigh the rows of a short segment.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from zo_runtime.deltalog.documents import ObjectRef
from zo_runtime.deltalog.rows import StepRow
from zo_runtime.errors import LogCorrupt
from zo_runtime.zo.estimator import SIGNIFICANT_BITS, SMALLEST
from zo_runtime.zo.method import Update

Floats = npt.NDArray[np.float32]
Columns = dict[str, npt.NDArray[Any]]
Schema = dict[str, np.dtype[Any]]

_SEGMENT: Schema = {
    "step": np.dtype(np.int32),
    "direction": np.dtype(np.int8),
    "loss_plus": np.dtype(np.float32),
    "loss_minus": np.dtype(np.float32),
    "coefficient": np.dtype(np.float32),
    "learning_rate": np.dtype(np.float32),
    "cursor": np.dtype(np.int64),
}
_METRICS: Schema = {"step": np.dtype(np.int32), "step_seconds": np.dtype(np.float32), "tokens": np.dtype(np.int32)}


@dataclass(frozen=True, slots=True)
class Segment:
    """The steps of one segment: `steps`, `learning_rates`, `cursors` [N], the others [N, directions]."""

    steps: npt.NDArray[np.int32]
    loss_plus: Floats
    loss_minus: Floats
    coefficients: Floats
    learning_rates: Floats
    cursors: npt.NDArray[np.int64]

    def between(self, first: int, last: int) -> Segment:
        """Only the steps `first`..`last`."""
        part = _part(self.steps, first, last)
        return Segment(*(getattr(self, name)[part] for name in Segment.__slots__))

    def updates(self) -> list[Update]:
        """What replay needs of each step."""
        columns = (self.steps.tolist(), self.learning_rates.tolist(), self.coefficients.tolist())
        return [Update(step, rate, tuple(c)) for step, rate, c in zip(*columns, strict=True)]

    def rows(self, costs: StepCosts) -> list[StepRow]:
        """The steps as they were appended."""
        names = ("steps", "loss_plus", "loss_minus", "coefficients", "learning_rates", "cursors")
        columns = [getattr(self, name).tolist() for name in names]
        columns += [costs.step_seconds.tolist(), costs.tokens.tolist()]
        return [
            StepRow(step, tuple(plus), tuple(minus), tuple(c), rate, cursor, seconds, tokens)
            for step, plus, minus, c, rate, cursor, seconds, tokens in zip(*columns, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Time in seconds and tokens scored of each step, both [N]."""

    step_seconds: Floats
    tokens: npt.NDArray[np.int32]

    def between(self, steps: npt.NDArray[np.int32], first: int, last: int) -> StepCosts:
        """Only the steps `first`..`last`, where `steps` [N] numbers the rows."""
        part = _part(steps, first, last)
        return StepCosts(self.step_seconds[part], self.tokens[part])


def encode_segment(rows: Sequence[StepRow]) -> bytes:
    """The bytes of `segments/<first>-<last>.parquet`: one row per step and direction, in that order."""
    directions = len(rows[0].coefficients)
    per_step = {"step": "step", "learning_rate": "learning_rate", "cursor": "cursor"}
    per_direction = {"loss_plus": "loss_plus", "loss_minus": "loss_minus", "coefficient": "coefficients"}
    columns = {name: np.repeat([getattr(r, field) for r in rows], directions) for name, field in per_step.items()}
    columns |= {name: np.concatenate([getattr(r, f) for r in rows]) for name, f in per_direction.items()}
    columns["direction"] = np.tile(np.arange(directions), len(rows))
    return _encode({name: columns[name].astype(dtype) for name, dtype in _SEGMENT.items()})


def decode_segment(data: bytes, ref: ObjectRef, directions: int) -> Segment:
    """Parse a segment whose bytes were verified, and check that it says what its place in the log demands."""
    columns = _decode(data, ref.key, _SEGMENT)
    steps = np.arange(ref.first, ref.last + 1, dtype=np.int32)
    _require_steps(columns["step"], np.repeat(steps, directions), ref.key)
    if not np.array_equal(columns["direction"], np.tile(np.arange(directions, dtype=np.int8), len(steps))):
        raise LogCorrupt(f"{ref.key} does not number the {directions} directions of each step")
    for name, values in columns.items():
        if not np.isfinite(values).all():
            raise LogCorrupt(f"{ref.key} has a {name} that is not finite")
    _require_exact(columns["coefficient"], ref.key)
    grid = {name: values.reshape(len(steps), directions) for name, values in columns.items()}
    for name in ("learning_rate", "cursor"):
        if (grid[name] != grid[name][:, :1]).any():
            raise LogCorrupt(f"{ref.key} has different values of {name} within one step")
    return Segment(
        steps,
        grid["loss_plus"],
        grid["loss_minus"],
        grid["coefficient"],
        grid["learning_rate"][:, 0],
        grid["cursor"][:, 0],
    )


def encode_metrics(rows: Sequence[StepRow]) -> bytes:
    """The bytes of `metrics/<first>-<last>.parquet`: one row per step."""
    return _encode({name: np.array([getattr(r, name) for r in rows], dtype) for name, dtype in _METRICS.items()})


def decode_metrics(data: bytes, ref: ObjectRef) -> StepCosts:
    """Parse a metrics object whose bytes were verified."""
    columns = _decode(data, ref.key, _METRICS)
    _require_steps(columns["step"], np.arange(ref.first, ref.last + 1, dtype=np.int32), ref.key)
    return StepCosts(columns["step_seconds"], columns["tokens"])


def _part(steps: npt.NDArray[np.int32], first: int, last: int) -> slice:
    start, end = np.searchsorted(steps, [first, last + 1])
    return slice(int(start), int(end))


def _require_steps(found: npt.NDArray[Any], wanted: npt.NDArray[Any], key: str) -> None:
    if not np.array_equal(found, wanted):
        raise LogCorrupt(f"{key} does not hold the steps that its name says: one is missing, twice or out of place")


def _require_exact(coefficients: Floats, key: str) -> None:
    """Every coefficient is a value that `round_coefficient` returns."""
    dropped = np.uint32((1 << (24 - SIGNIFICANT_BITS)) - 1)
    tiny = (coefficients != 0) & (np.abs(coefficients) < np.float32(SMALLEST))
    if ((coefficients.view(np.uint32) & dropped) != 0).any() or tiny.any():
        raise LogCorrupt(f"{key} has a coefficient with more than {SIGNIFICANT_BITS} significant bits")


def _encode(columns: Columns) -> bytes:
    encodings = {name: "BYTE_STREAM_SPLIT" if c.dtype.kind == "f" else "DELTA_BINARY_PACKED" for name, c in
                 columns.items() if name != "direction"}  # fmt: skip
    sink = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        sink,
        compression="zstd",
        compression_level=9,
        use_dictionary=["direction"] if "direction" in columns else False,
        column_encoding=encodings,
        write_statistics=False,
        store_schema=False,
    )
    return sink.getvalue()


def _decode(data: bytes, key: str, schema: Schema) -> Columns:
    try:
        table = pq.read_table(pa.BufferReader(data), use_threads=False)
    except (pa.ArrowException, OSError):
        raise LogCorrupt(f"{key} is not a Parquet file") from None
    columns: Columns = {name: table[name].to_numpy() for name in table.column_names}
    if {name: c.dtype for name, c in columns.items()} != schema:
        raise LogCorrupt(f"{key} does not have the columns {', '.join(schema)} with their types")
    return {name: np.ascontiguousarray(c) for name, c in columns.items()}
