"""A resource of the toy model that learns round after round, and the producer of its data."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from fakes.toy import WORDS
from fakes.toy_manifest import manifest, write_manifest
from zo_runtime.config.storage import S3
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.storage.open import open_store


def deliver(folder: Path, name: str, count: int, seed: int, mode: str = "w") -> Path:
    """Messages whose label follows from their words, in a file of the source."""
    rng = random.Random(seed)
    path = folder / "incoming" / name
    path.parent.mkdir(exist_ok=True)
    with path.open(mode) as out:
        for _ in range(count):
            label = rng.randrange(2)
            words = rng.choices(WORDS[4:8] if label else WORDS[0:4], k=2) + rng.choices(WORDS[8:], k=3)
            rng.shuffle(words)
            out.write(json.dumps({"text": " ".join(words), "label": label}) + "\n")
    return path


def source(folder: Path) -> dict[str, Any]:
    """The document without the order of a round."""
    (folder / "incoming").mkdir(parents=True, exist_ok=True)
    document = manifest(folder, steps=20)
    document["spec"]["data"] = {"train": {"uri": str(folder / "incoming")}, "heldOut": {"examples": 40}}
    document["spec"]["evaluation"] = {"every": 10}
    return document


def order(folder: Path, number: int, base: int | None = None, served: int | None = None) -> dict[str, Any]:
    """The order of a round, as the operator writes it."""
    ordered: dict[str, Any] = {"number": number}
    for name, version in (("base", base), ("served", served)):
        if version is not None:
            link = log_of(folder).history().links[version - 1]
            ordered[name] = {"version": version, "sha256": link.sha256}
    return ordered


def write_round(folder: Path, document: dict[str, Any], ordered: dict[str, Any] | None) -> Path:
    """The manifest that the pods of the round read."""
    return write_manifest(folder, document if ordered is None else {**document, "round": ordered})


def log_of(folder: Path) -> LogReader:
    return LogReader(open_store(str(folder / "log"), S3()))
