"""Reads a log into what a report shows."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime

import numpy as np

from zo_runtime.deltalog.data_list import load_data_list
from zo_runtime.deltalog.documents import DataList, Version
from zo_runtime.deltalog.fetch import in_order
from zo_runtime.deltalog.names import QUARANTINE
from zo_runtime.deltalog.quarantine_file import get_quarantine
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.report.model import EvaluationPoint, ReportData, StepSeries, Totals, VersionLine
from zo_runtime.report.rounds import round_lines


def collect(log: LogReader) -> ReportData:
    """Read the whole log. Raise `InvalidSpec` where there is none, `LogCorrupt`, `StorageError`."""
    run = log.run
    steps = _steps(log)
    versions = log.versions()
    refs = log.history().segments
    return ReportData(
        run=run.name,
        uri=log.store.uri,
        model=run.model.name,
        settings={**run.settings, "model": run.model.model_dump(mode="json", by_alias=True, exclude_none=True)},
        steps=steps,
        evaluations=tuple(
            EvaluationPoint(v.last_step, v.evaluation.loss, v.evaluation.accuracy, v.evaluation.examples)
            for v in versions
            if v.evaluation is not None
        ),
        versions=tuple(_line(v) for v in versions),
        rounds=round_lines(versions, data_lists(log, versions)),
        totals=Totals(
            steps=len(steps),
            seconds=float(np.sum(steps.seconds)),
            tokens=int(np.sum(steps.tokens)),
            log_bytes=sum(ref.size for ref in refs),
        ),
        quarantine=_quarantine(log),
        generated=datetime.now(UTC),
    )


def _steps(log: LogReader) -> StepSeries:
    rows = list(log.metrics())
    names = ("step", "loss", "gradient", "learning_rate", "step_seconds", "tokens")
    columns = [np.array([getattr(row, name) for row in rows], np.float64) for name in names]
    return StepSeries(*columns)


def data_lists(log: LogReader, versions: tuple[Version, ...]) -> dict[int, DataList]:
    """What each round learned from."""
    named = {v.round: v.data_list for v in versions if v.round is not None and v.data_list is not None}
    return {data.round: data for data in in_order(lambda each: load_data_list(log.store, *each), list(named.items()))}


def _line(version: Version) -> VersionLine:
    evaluation = version.evaluation
    return VersionLine(
        number=version.number,
        step=version.last_step,
        digest=version.digest,
        previous=version.previous,
        created=version.created,
        loss=evaluation.loss if evaluation else None,
        accuracy=evaluation.accuracy if evaluation else None,
    )


def _quarantine(log: LogReader) -> dict[str, int]:
    """Records set aside, by reason: one JSON object a line, one file for each set of them."""
    counts: Counter[str] = Counter()
    for info in log.store.list(QUARANTINE):
        lines = get_quarantine(log.store, info.key).splitlines()
        counts.update(json.loads(line)["reason"] for line in lines)
    return dict(counts.most_common())
