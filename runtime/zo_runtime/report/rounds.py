"""From the versions of a log and what its rounds learned from to the lines of a report. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from zo_runtime.deltalog.documents import DataList, Version
from zo_runtime.report.model import RoundLine, Score


def round_lines(versions: Sequence[Version], lists: Mapping[int, DataList]) -> tuple[RoundLine, ...]:
    """A line for each round that published a version; `lists` holds what each of them learned from, by number."""
    of_rounds = [version for version in versions if version.round is not None]
    grouped = groupby(of_rounds, key=lambda version: version.round or 0)
    return tuple(_line(lists[number], tuple(found)) for number, found in grouped)


def _line(data: DataList, versions: tuple[Version, ...]) -> RoundLine:
    first, last = versions[0], versions[-1]
    entries = (*data.train, *(data.evaluation or ()))
    costs = [version.cost for version in versions if version.cost is not None]
    return RoundLine(
        number=data.round,
        started=first.created,
        ended=last.created,
        objects=len(entries),
        records=sum(entry.last - entry.first + 1 for entry in entries),
        steps=last.last_step - data.first_step + 1,
        base=data.base.version if data.base else None,
        version=last.number,
        served=_served(data, first, last),
        candidate=_score(last),
        verdict=last.verdict,
        seconds=sum(cost.seconds for cost in costs),
        accelerator_seconds=sum(cost.seconds * cost.accelerators for cost in costs),
        log_bytes=sum(ref.size for version in versions for ref in version.segments),
    )


def _served(data: DataList, first: Version, last: Version) -> Score | None:
    """What was served, on the round's held-out data: the round scored it first if it started there; else the gate
    compared with it, in one metric."""
    if data.served == data.base and first.last_step < first.first_step:
        return _score(first)
    compared = last.verdict.held_out if last.verdict else None
    if compared is None:
        return None
    loss, accuracy = (compared.served, None) if compared.metric == "loss" else (None, compared.served)
    return Score(loss, accuracy, compared.examples)


def _score(version: Version) -> Score | None:
    found = version.evaluation
    return None if found is None else Score(found.loss, found.accuracy, found.examples)
