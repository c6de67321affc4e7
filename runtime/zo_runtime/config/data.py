"""`spec.data`: where the examples come from, and what is held out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zo_runtime.config.base import Fraction, NonNegativeInt, PositiveInt, SpecModel
from zo_runtime.config.model import VolumeClaim

Format = Literal["auto", "jsonl", "csv", "tsv", "parquet"]


class Source(SpecModel):
    """Records with named fields."""

    uri: Annotated[str, Field(min_length=1, max_length=2048)]
    """A file, a folder or a glob pattern on this machine, or `s3://bucket/prefix`. A folder or prefix is read
    in the order of the names below it. With `persistentVolumeClaim`, a path relative to the claim."""
    format: Format = "auto"
    """File format. `auto` goes by the name's ending: `.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet`."""
    columns: list[str] | None = None
    """Names of the columns of a CSV or TSV file that has no header line. Default: the first line names them."""
    persistent_volume_claim: VolumeClaim | None = None
    """Read the records from a volume. Cluster only."""


class HeldOut(SpecModel):
    """The part of `train` that is kept for evaluation, when no `evaluation` source is given."""

    examples: PositiveInt | None = None
    """Number of examples to hold out. Default: `fraction` decides."""
    fraction: Fraction = 0.1
    """Share of the examples to hold out, 0 to 1. Default: 0.1."""


class Quarantine(SpecModel):
    """What happens to records that do not fit."""

    max_fraction: Fraction = 0.05
    """Share of bad records above which the run stops, 0 to 1. Default: 0.05."""


class Data(SpecModel):
    """The training data and the held-out data."""

    train: Source
    """Records to learn from."""
    evaluation: Source | None = None
    """Records to evaluate on. Default: a held-out part of `train`."""
    held_out: HeldOut = HeldOut()
    """Size of the held-out part when there is no `evaluation` source."""
    quarantine: Quarantine = Quarantine()
    """Tolerance for records that cannot be used."""
    max_examples: PositiveInt | None = None
    """Use at most this many training examples. Default: all."""
    seed: NonNegativeInt = 0
    """Seed of the held-out split and of the order of batches. Default: 0."""
