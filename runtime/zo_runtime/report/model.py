"""What a report shows. Whoever reads a log fills these in; rendering asks for nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from zo_runtime.rounds.contract import Verdict

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class StepSeries:
    """The steps of a run, as columns of equal length N, ordered by step. Values may be NaN."""

    step: Column
    loss: Column
    """Mean loss at plus and minus, in nats."""
    projected_gradient: Column
    learning_rate: Column
    seconds: Column
    tokens: Column

    def __post_init__(self) -> None:
        lengths = {getattr(self, field.name).shape for field in fields(self)}
        if len(lengths) != 1 or len(next(iter(lengths))) != 1:
            raise ValueError(f"the columns of the steps have different shapes: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.step)


@dataclass(frozen=True, slots=True)
class EvaluationPoint:
    """One evaluation on the held-out data, after `step` steps; the first one is before training."""

    step: int
    loss: float
    accuracy: float | None
    """0 to 1; none for objectives without one."""
    examples: int


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One published version in the lineage of the adapter."""

    number: int
    step: int
    digest: str
    """Digest of the bank at `step`."""
    previous: str | None
    """SHA-256 of the version before it, none for the first."""
    created: datetime
    loss: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Score:
    """What some held-out data said of a version."""

    loss: float | None
    accuracy: float | None
    """0 to 1; none for objectives without one."""
    examples: int


@dataclass(frozen=True, slots=True)
class RoundLine:
    """One round on fresh data."""

    number: int
    started: datetime
    """When its first version was published, before its first step."""
    ended: datetime
    """When its newest version was published."""
    objects: int
    """Objects, or files, that it learned from."""
    records: int
    steps: int
    base: int | None
    """The version that it continued from; none for the base model."""
    version: int
    """Its newest version."""
    served: Score | None
    """What was served then, on this round's held-out data; none where nobody scored it."""
    candidate: Score | None
    """Its newest version, on the same data."""
    verdict: Verdict | None
    """None while the round goes on, or where it came to no end."""
    seconds: float
    """Time of the processes that ran it, from their start to its newest version."""
    accelerator_seconds: float
    """The same times the number of GPUs they held."""
    log_bytes: int
    """Size of its segments of the log."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the whole run."""

    steps: int
    seconds: float
    """Time spent in steps."""
    tokens: int
    log_bytes: int
    """Size of the segments of the log."""

    @property
    def bytes_per_step(self) -> float | None:
        """Mean size of a step in the log; none before the first step."""
        return self.log_bytes / self.steps if self.steps else None


@dataclass(frozen=True, slots=True, eq=False)
class ReportData:
    """All that a report shows of one run."""

    run: str
    """Name of the resource."""
    uri: str
    """Where the log is."""
    model: str
    """The base model's name."""
    settings: Mapping[str, object]
    """The `spec`, nested as in the manifest. Shown as it is: it must hold no secrets."""
    steps: StepSeries
    evaluations: tuple[EvaluationPoint, ...]
    """Ordered by step."""
    versions: tuple[VersionLine, ...]
    """Ordered by number."""
    rounds: tuple[RoundLine, ...]
    """Ordered by number; empty for a run without rounds."""
    totals: Totals
    quarantine: Mapping[str, int]
    """Records set aside, by reason."""
    generated: datetime
    """When this was read from the log; with a time zone."""

    @property
    def newest(self) -> VersionLine | None:
        """The version that the gate accepted last, or else the newest one; none before the first."""
        accepted = {each.version for each in self.rounds if each.verdict is not None and each.verdict.accepted}
        chosen = [version for version in self.versions if version.number in accepted] or self.versions
        return chosen[-1] if chosen else None
