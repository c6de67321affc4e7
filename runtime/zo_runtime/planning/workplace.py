"""How many workers and shards a manifest asks for: the part of `spec.runtime` that counts outside a cluster too."""

from __future__ import annotations

from pathlib import Path

from zo_runtime.config.yaml_nodes import read_documents
from zo_runtime.errors import InvalidSpec

_MOST = 64


def workplace(path: Path) -> tuple[int, int]:
    """`spec.runtime.workers` and `spec.runtime.tensorParallelSize` of a manifest that has been validated otherwise:
    it is no part of the runtime's document. Raise `InvalidSpec` where one is no number from 1 to 64."""
    documents = [each for each in read_documents(path.read_text(encoding="utf-8-sig")) if isinstance(each, dict)]
    runtime = documents[0]["spec"].get("runtime") or {}
    return _number(runtime, "workers"), _number(runtime, "tensorParallelSize")


def _number(runtime: object, name: str) -> int:
    value = runtime.get(name, 1) if isinstance(runtime, dict) else None
    if type(value) is not int or not 1 <= value <= _MOST:
        raise InvalidSpec(f"spec.runtime.{name}: {value!r} must be a whole number from 1 to {_MOST}")
    return value
