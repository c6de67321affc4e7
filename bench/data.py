"""The prompts of the benchmarks, and the name of the data that they came from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from zo_runtime.data.examples import Example

TEMPLATE = "{text} It was"
LABEL_WORDS = (" terrible", " great")
ROOT = Path(__file__).resolve().parents[1]
SST2 = ROOT.parent / "shared" / "data" / "sst2" / "train.tsv"
MESSAGES = ROOT / ".cache" / "data" / "messages.jsonl"
_TARGETS = {"negative": 0, "positive": 1}


def load_examples(model_dir: Path, count: int) -> tuple[list[Example], str]:
    """The first `count` prompts as token ids, and the data's name: SST-2, or else the messages of the demo.

    Each has two candidates of one token (" terrible", " great"). Raises SystemExit with one sentence where
    neither data set is there, it holds too few records, or the tokenizer splits a label word.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model_dir))
    records, source = load_records(count)
    return [encode(tokenizer, text, target) for text, target in records], source


def load_records(count: int, sst2: Path = SST2, messages: Path = MESSAGES) -> tuple[list[tuple[str, int]], str]:
    """The first `count` (text, target) pairs, target 1 for positive, and the name of their source."""
    if sst2.is_file():
        source, rows = "SST-2 train", _sst2_rows(sst2)
    elif messages.is_file():
        source, rows = "messages", _message_rows(messages)
    else:
        raise SystemExit(f"examples: neither {sst2} nor {messages} is here: run `make bench`, which fetches them")
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


def _message_rows(path: Path) -> Iterable[tuple[str, int]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            yield record["text"], _TARGETS[record["sentiment"]]
