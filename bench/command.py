"""What the benchmarks' commands share: an option, and how a result is kept."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def model_folder(text: str) -> Path:
    """The type of `--model`: an absolute path, for parts of some benchmarks run in another working directory."""
    folder = Path(text).resolve()
    if not (folder / "config.json").is_file():
        raise argparse.ArgumentTypeError(f"{text} has no config.json: give the folder of a Transformers model")
    return folder


def keep(out: Path, name: str, result: Mapping[str, Any], picture: str | None = None) -> None:
    """Write NAME.json, and NAME.svg where there is a picture, into a folder that is made if need be."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if picture is not None:
        (out / f"{name}.svg").write_text(picture, encoding="utf-8")
