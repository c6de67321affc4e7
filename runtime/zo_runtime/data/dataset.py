"""The whole way from `spec.data` to examples: read, fill in, tokenize, count the unusable, split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from zo_runtime.config.data import Data, Source
from zo_runtime.config.objective import Objective
from zo_runtime.config.storage import S3
from zo_runtime.data.digest import dataset_digest
from zo_runtime.data.examples import Example
from zo_runtime.data.formats import Read, Record
from zo_runtime.data.prompts import Drafter, ExampleBuilder, drafter_for
from zo_runtime.data.quarantine import Quarantine
from zo_runtime.data.records import read_records
from zo_runtime.data.split import split
from zo_runtime.data.tokenizer import Tokenizer
from zo_runtime.errors import InvalidData

# Records that are tokenized in one call.
_CHUNK = 1024
_MOST_COLUMNS_SHOWN = 30

Progress = Callable[[int], None]
Records = Callable[[Source, S3, str], Iterator[Read]]
"""Yields the records of a source, as `read_records` does, which says what the arguments are."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Examples ready to be scored."""

    train: list[Example]
    """To learn from, in the order of the records."""
    held_out: list[Example]
    """To evaluate on. Empty only where `spec.data.heldOut.fraction` is 0."""
    regression: list[Example]
    """What the gate also judges by; empty where there is no such set."""
    digest: str
    """SHA-256 of the token ids of `train` and `held_out`, in hex; the same on every machine, different for another
    order."""
    quarantine: Quarantine
    """Records of all parts that could not be used."""
    columns: list[str]
    """Fields of the training records, in the order in which they first appear."""


def load_dataset(
    data: Data,
    objective: Objective,
    tokenizer: Tokenizer,
    max_length: int,
    s3: S3,
    on_progress: Progress | None = None,
    regression: Source | None = None,
    records: Records = read_records,
) -> Dataset:
    """Read and tokenize the data, and the gate's `regression` set if there is one; `on_progress` is told the number
    of records read so far, now and then. `records` reads a source; a round reads just a part of it.

    Raise `InvalidData` for missing, empty or unreadable files, fields that no record has, too many unusable
    records and a split that leaves one part empty; `InvalidSpec` for templates and label words.
    """
    drafter = drafter_for(objective, tokenizer)
    builder = ExampleBuilder(drafter, tokenizer, max_length)
    loader = _Loader(drafter, builder, data.quarantine.max_fraction, s3, records, on_progress)
    examples, quarantine, columns = loader.load(data.train, "spec.data.train")
    if data.evaluation is not None:
        train = examples
        held_out, more, _ = loader.load(data.evaluation, "spec.data.evaluation")
        quarantine.entries.extend(more.entries)
    else:
        train, held_out = split(examples, data.held_out, data.seed)
        _require_both(train, held_out, data)
    fixed: list[Example] = []
    if regression is not None:
        fixed, more, _ = loader.load(regression, "spec.gate.regression.source")
        quarantine.entries.extend(more.entries)
    train = train[: data.max_examples]
    return Dataset(train, held_out, fixed, dataset_digest(train, held_out), quarantine, columns)


class _Loader:
    """Reads sources one after another with the same objective."""

    def __init__(
        self,
        drafter: Drafter,
        builder: ExampleBuilder,
        max_fraction: float,
        s3: S3,
        records: Records,
        on_progress: Progress | None,
    ) -> None:
        self._drafter, self._builder, self._max_fraction = drafter, builder, max_fraction
        self._s3, self._records = s3, records
        self._on_progress = on_progress
        self._read = 0

    def load(self, source: Source, where: str) -> tuple[list[Example], Quarantine, list[str]]:
        """The source's examples, unusable records and columns. Raise `InvalidData`."""
        examples: list[Example] = []
        quarantine = Quarantine()
        columns: dict[str, None] = {}
        for chunk in _chunks(self._records(source, self._s3, where)):
            records = [read for read in chunk if isinstance(read, Record)]
            for record in records:
                if not record.values.keys() <= columns.keys():
                    columns.update(dict.fromkeys(record.values))
            built = iter(self._builder.build(records))
            for read in chunk:
                result = next(built) if isinstance(read, Record) else read
                if isinstance(result, Example):
                    examples.append(result)
                else:
                    quarantine.entries.append(result)
            self._report(len(chunk))
        if not examples and not quarantine.entries:
            raise InvalidData(f"{where}: {source.uri} holds no records; give one record a line or row")
        if columns:
            self._require_fields(columns, where)
        quarantine.require_at_most(self._max_fraction, len(examples), where)
        if not examples:
            raise InvalidData(f"{where}: no record of {source.uri} can be used; correct the records or the objective")
        return examples, quarantine, list(columns)

    def _report(self, records: int) -> None:
        self._read += records
        if self._on_progress is not None:
            self._on_progress(self._read)

    def _require_fields(self, columns: dict[str, None], where: str) -> None:
        for place, name in self._drafter.fields:
            if name not in columns:
                shown = ", ".join(list(columns)[:_MOST_COLUMNS_SHOWN])
                raise InvalidData(
                    f"{place}: no record of {where} has the field {name!r}; the fields are {shown}; correct the "
                    "name, or give `columns` if the file has no header"
                )


def _chunks(reads: Iterator[Read]) -> Iterator[list[Read]]:
    while chunk := list(islice(reads, _CHUNK)):
        yield chunk


def _require_both(train: list[Example], held_out: list[Example], data: Data) -> None:
    total = len(train) + len(held_out)
    if not train:
        raise InvalidData(
            f"spec.data.heldOut: all {total} examples are held out and none is left to train on; lower heldOut, or "
            "give spec.data.evaluation"
        )
    if not held_out and data.held_out.fraction > 0:
        raise InvalidData(
            f"spec.data.heldOut: none of {total} examples falls into the held-out share {data.held_out.fraction:g}; "
            "set heldOut.examples, or give spec.data.evaluation"
        )
