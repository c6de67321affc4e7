"""A manifest and data for the toy model."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import yaml

from fakes.toy import WORDS


def write_messages(path: Path, count: int = 300) -> None:
    """Messages whose label follows from their words."""
    rng = random.Random(5)
    with path.open("w") as out:
        for _ in range(count):
            label = rng.randrange(2)
            words = rng.choices(WORDS[4:8] if label else WORDS[0:4], k=2) + rng.choices(WORDS[8:], k=3)
            rng.shuffle(words)
            out.write(json.dumps({"text": " ".join(words), "label": label}) + "\n")


def manifest(folder: Path, **optimizer: Any) -> dict[str, Any]:
    """A document that runs in `folder`; arguments go into spec.optimizer."""
    data = folder / "messages.jsonl"
    if not data.exists():
        write_messages(data)
    return {
        "apiVersion": "zofinetune.io/v1alpha1",
        "kind": "ZOFineTune",
        "metadata": {"name": "toy"},
        "spec": {
            "model": {"name": "toy"},
            "data": {"train": {"uri": str(data)}, "heldOut": {"examples": 60}},
            "objective": {"classification": {"prompt": "{text}", "labels": {"0": " no", "1": " yes"}}},
            "optimizer": {"steps": 40, "batchSize": 16, "learningRate": 0.3, "interval": 5, **optimizer},
            "evaluation": {"every": 20},
            "storage": {"uri": str(folder / "log"), "flush": {"everySteps": 5}},
            "metrics": {"port": 0},
        },
    }


def write_manifest(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "manifest.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
