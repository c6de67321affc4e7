"""What the cache says of an adapter, and what names it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from zo_runtime.serving.contract import Sha256, Target

Dtype = Literal["float32", "float16", "bfloat16"]


class Manifest(BaseModel):
    """manifest.json: an adapter's origin and the hashes of its files."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    key: str = ""
    run: Sha256
    """Hash of the log's run.json."""
    base_model: str
    """Name of the base model in the log."""
    base_digest: str
    """Digest of its weights."""
    version: int
    step: int
    digest: Sha256
    """Digest of the bank."""
    rank: int
    modules: tuple[str, ...]
    """Last parts of the adapted layers' names."""
    files: dict[str, Sha256] = {}


def version_label(target: Target) -> str:
    """What a target is called: `v3-1f2e3d4c5b6a`, or `v3.250-1f2e3d4c5b6a` for step 250. The hash keeps versions of
    two logs apart that have the same number."""
    step = "" if target.step is None else f".{target.step}"
    return f"v{target.version}{step}-{target.sha256[:12]}"


def adapter_key(target: Target, dtype: Dtype) -> str:
    """Name of the adapter's folder in the cache. The version's hash pins the log, the base model and every step."""
    step = "" if target.step is None else f".{target.step}"
    return f"v{target.version}{step}-{target.sha256}-{dtype}"
