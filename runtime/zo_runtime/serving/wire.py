"""What a server and the process that builds its adapters say to each other, a line of JSON each. Light to import."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from zo_runtime.config.storage import S3
from zo_runtime.serving.contract import Target
from zo_runtime.serving.manifest import Dtype, Manifest


class BuildRequest(BaseModel):
    """An adapter to build, and the base model that it must fit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    uri: str
    s3: S3
    target: Target
    dtype: Dtype
    model: str
    """Folder or Hugging Face name of the base model that is served."""
    revision: str | None
    cache: Path
    cache_bytes: int


class Built(BaseModel):
    """A verified adapter on the disk."""

    model_config = ConfigDict(frozen=True)

    path: Path
    manifest: Manifest


class Answer(BaseModel):
    """One of the two: what was built, or the reason and the sentence of the error."""

    built: Built | None = None
    reason: str = ""
    message: str = ""
