"""How large a run's log becomes, by encoding what it will hold: the real format with made-up numbers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from pydantic import JsonValue

from zo_runtime.config.document import Document
from zo_runtime.deltalog.checked_json import encode
from zo_runtime.deltalog.documents import Evaluation, ModelIdentity, ObjectRef, RunInfo, Version
from zo_runtime.deltalog.names import metrics_key, segment_key
from zo_runtime.deltalog.parquet import encode_metrics, encode_segment
from zo_runtime.deltalog.rows import StepRow
from zo_runtime.deltalog.writer import SEGMENT_STEPS
from zo_runtime.zo.estimator import coefficients, learning_rate
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method

_HASH = "0" * 64
_BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
_HEAD_BYTES = 1000
"""LATEST.json with one open segment, which each flush writes anew."""
_SHORTEST = 10


@dataclass(frozen=True, slots=True)
class LogSize:
    """Bytes of the whole log at the end, and bytes sent to the storage until then."""

    stored: int
    sent: int
    steps: int

    @property
    def bytes_a_step(self) -> float:
        """Average over the run."""
        return self.stored / self.steps


def log_size(
    document: Document, layout: BankLayout, method: Method, evaluations: int, step_seconds: float
) -> LogSize:
    """Size of the log of one run whose steps take `step_seconds` each."""
    spec = document.spec
    steps, every = spec.optimizer.steps, spec.evaluation.every
    run = len(encode(_run(document, layout, method)))
    fixed, slope = _segment_line(document, method, min(every, steps, SEGMENT_STEPS))
    version = len(encode(_version(max(1, math.ceil(min(every, steps) / SEGMENT_STEPS)))))
    segments = _segments(steps, every)
    flush = _flush_steps(spec.storage.flush.every_steps, spec.storage.flush.every_seconds, step_seconds)
    stored = run + sum(n * (fixed + slope * length) for length, n in segments.items()) + evaluations * version
    sent = run + evaluations * version
    for length, count in segments.items():
        # A flush writes the open segment anew, as long as it is by then, and LATEST.json.
        ends = [*range(flush, length, flush), length]
        sent += count * sum(fixed + slope * end + _HEAD_BYTES for end in ends)
    return LogSize(round(stored), round(sent), steps)


def _segments(steps: int, every: int) -> Counter[int]:
    """How many segments have which length in steps: one is closed when it is full or a version is published."""
    found: Counter[int] = Counter()
    for length, count in ((every, steps // every), (steps % every, 1)):
        found[SEGMENT_STEPS] += count * (length // SEGMENT_STEPS)
        found[length % SEGMENT_STEPS] += count
    return Counter({length: count for length, count in found.items() if length and count})


def _flush_steps(every_steps: int, every_seconds: float, step_seconds: float) -> int:
    return min(every_steps, max(1, math.ceil(every_seconds / step_seconds)))


def _segment_line(document: Document, method: Method, steps: int) -> tuple[float, float]:
    """Bytes of a segment with its metrics as `fixed + slope * steps`, through two that are encoded."""
    few = min(_SHORTEST, steps)
    short, long = _segment_bytes(document, method, few), _segment_bytes(document, method, steps)
    slope = (long - short) / (steps - few) if steps > few else 0.0
    return long - slope * steps, slope


def _segment_bytes(document: Document, method: Method, steps: int) -> int:
    rows = [_row(document, method, step) for step in range(1, steps + 1)]
    return len(encode_segment(rows)) + len(encode_metrics(rows))


def _row(document: Document, method: Method, step: int) -> StepRow:
    """A step whose numbers are as hard to compress as a real one's."""
    optimizer = document.spec.optimizer
    rng = np.random.default_rng([7, step])
    base, slopes = 0.6 + 0.1 * rng.normal(), 0.01 * rng.normal(size=method.directions)
    plus, minus = ((base + sign * slopes).astype(np.float32) for sign in (1, -1))
    gradients = ((plus - minus) / (2 * method.epsilon)).tolist()
    rate = learning_rate(optimizer.learning_rate, optimizer.schedule, step, optimizer.steps)
    return StepRow(
        step=step,
        loss_plus=tuple(plus.tolist()),
        loss_minus=tuple(minus.tolist()),
        coefficients=coefficients(gradients, rate, method.momentum),
        learning_rate=rate,
        cursor=(step - 1) * optimizer.batch_size,
        step_seconds=float(np.float32(0.3 + 0.05 * rng.random())),
        tokens=int(rng.integers(600, 1000)),
    )


def _run(document: Document, layout: BankLayout, method: Method) -> RunInfo:
    spec = document.spec
    identity = ModelIdentity(name=spec.model.name, revision=spec.model.revision, digest=_HASH, dtype="bfloat16")
    settings: dict[str, JsonValue] = {
        "objective": spec.objective.model_dump(mode="json", by_alias=True, exclude_none=True),
        "optimizer": spec.optimizer.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    return RunInfo.build(document.metadata.name, identity, layout, method, settings, _BEGUN)


def _version(segments: int) -> Version:
    """A version of as many segments."""
    keys = (segment_key(1, SEGMENT_STEPS), metrics_key(1, SEGMENT_STEPS))
    refs = [(ObjectRef(key=key, first=1, last=SEGMENT_STEPS, size=9999, sha256=_HASH),) * segments for key in keys]
    return Version(
        number=10,
        run=_HASH,
        previous=_HASH,
        first_step=1000,
        last_step=2000,
        segments=refs[0],
        metrics=refs[1],
        evaluation=Evaluation(loss=0.5123456789, accuracy=0.7512345678, examples=872),
        cursor=10_000,
        data_digest=_HASH,
        digest=_HASH,
        created=_BEGUN,
    )
