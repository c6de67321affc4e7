"""The toy model as the story's base model: words by their hashes, so that it learns what messages are about."""

from __future__ import annotations

import zlib
from pathlib import Path

from fakes.toy import ToyModel, ToyTokenizer
from zo_runtime.scoring.shapes import weights_digest

LABELS = {" high": 30, " low": 31}
# One under which few words of different topics meet in one of the thirty places.
_SALT = 28


class HashTokenizer(ToyTokenizer):
    """Knows the two label words, and any other word by its hash."""

    def encode(self, text: str, **_: object) -> list[int]:
        if text in LABELS:
            return [LABELS[text]]
        return [zlib.crc32(f"{_SALT}{word.strip('.,?!:').lower()}".encode()) % 30 for word in text.split()]


class ShopModel(ToyModel):
    """A toy whose weights are the files of a folder, as the digest that replicas verify wants it."""

    def __init__(self, folder: Path):
        super().__init__(digest=weights_digest(folder, "toy"))

    def tokenizer(self) -> HashTokenizer:
        return HashTokenizer()
