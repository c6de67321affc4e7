"""How long the examples are: measured on the first records where they can be read, else bounded from above."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from zo_runtime.config.data import Data, Source
from zo_runtime.config.document import RunSpec
from zo_runtime.data.examples import Example
from zo_runtime.data.formats import Read, Record
from zo_runtime.data.prompts import ExampleBuilder, drafter_for
from zo_runtime.data.quarantine import Entry
from zo_runtime.data.records import read_records
from zo_runtime.data.tokenizer import HuggingFaceTokenizer
from zo_runtime.errors import InvalidData, StorageError, UnsupportedModel
from zo_runtime.storage.open import is_s3

SAMPLE = 512
"""Records that are tokenized."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Examples that stand for all. `measured` is False for one made-up example of the greatest length."""

    examples: Sequence[Example]
    measured: bool
    source: str
    """Where the lengths come from, or why they were not measured."""
    held_out: int | None
    """Examples of one evaluation; None where the records were not counted."""

    @property
    def tokens(self) -> float:
        """Mean tokens of a prompt with its longest continuation."""
        whole = (len(e.prompt) + max(map(len, e.candidates)) for e in self.examples)
        return sum(whole) / len(self.examples)


def read_sample(spec: RunSpec, tokenizer: Callable[[], Any]) -> Sample:
    """Tokenize the first records, and count those of a local source. Raise `InvalidSpec` for wrong templates.

    Records of a bucket are not counted: that would fetch all of them.
    """
    data = spec.data
    try:
        hugging_face = HuggingFaceTokenizer(tokenizer())
        builder = ExampleBuilder(drafter_for(spec.objective, hugging_face), hugging_face, spec.model.max_length)
        reads = read_records(data.train, spec.storage.s3, "spec.data.train")
        records = [read for read in islice(reads, SAMPLE) if isinstance(read, Record)]
        built = builder.build(records)
        examples = [each for each in built if isinstance(each, Example)]
        if not examples:
            raise InvalidData(_why_none(built, data.train.uri))
        train = None if is_s3(data.train.uri) else len(records) + _count(reads)
        evaluation = None if data.evaluation is None else _records(data.evaluation, spec)
    except (InvalidData, StorageError, UnsupportedModel) as error:
        return _bound(spec, str(error), _known(spec, None, None))
    return Sample(examples, True, f"{len(examples)} records of {data.train.uri}", _known(spec, train, evaluation))


def _why_none(built: Sequence[Example | Entry], uri: str) -> str:
    """Why no record of the sample became an example."""
    for entry in built:
        if isinstance(entry, Entry):
            return f"{entry.origin}: {entry.detail}"
    return f"spec.data.train: {uri} holds no records"


def _records(source: Source, spec: RunSpec) -> int | None:
    if is_s3(source.uri):
        return None
    return _count(read_records(source, spec.storage.s3, "spec.data.evaluation"))


def _count(reads: Iterator[Read]) -> int:
    return sum(isinstance(read, Record) for read in reads)


def _known(spec: RunSpec, train: int | None, evaluation: int | None) -> int | None:
    """Examples of one evaluation, from what is given and what was counted."""
    whole = _held_out(spec.data, train, evaluation)
    most = spec.evaluation.max_examples
    return whole if most is None else most if whole is None else min(whole, most)


def _held_out(data: Data, train: int | None, evaluation: int | None) -> int | None:
    if data.evaluation is not None:
        return evaluation
    if data.held_out.examples is not None:
        return data.held_out.examples
    return None if train is None else round(train * data.held_out.fraction)


def _bound(spec: RunSpec, why: str, held_out: int | None) -> Sample:
    """One example as long as `spec.model.maxLength` allows; label words as single tokens, or half a completion."""
    longest, classification = spec.model.max_length, spec.objective.classification
    if classification is not None:
        labels = tuple((label,) for label in range(len(classification.labels)))
        example = Example((0,) * (longest - 1), labels, 0)
    else:
        example = Example((0,) * (longest - longest // 2), ((0,) * (longest // 2),), 0)
    return Sample([example], False, why, held_out)
