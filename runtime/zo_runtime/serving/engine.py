"""What following a desired state asks of an inference engine; `vllm_ext.serving_engine` is vLLM's answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zo_runtime.serving.contract import Target
from zo_runtime.serving.manifest import Dtype, Manifest, version_label


@dataclass(frozen=True, slots=True)
class Adapter:
    """A verified adapter, ready to be loaded under a model name."""

    name: str
    uri: str
    target: Target
    path: Path
    manifest: Manifest

    @property
    def label(self) -> str:
        """The version's label."""
        return version_label(self.target)

    @property
    def engine_name(self) -> str:
        """What the engine calls it: no two versions share it, or the engine would take one for the other."""
        return f"{self.name}@{self.label}"


@dataclass(frozen=True, slots=True)
class Slot:
    """An adapter that the engine has loaded: its number there, and the folder that it came from."""

    number: int
    path: Path


class Engine(Protocol):
    """An engine that serves LoRA adapters under model names."""

    model: str
    """Folder or Hugging Face name of the base model."""
    revision: str | None
    dtype: Dtype
    """Type of the adapters' numbers."""
    slots: int
    """Adapters that can take part in one batch."""

    def require(self, adapter: Adapter) -> None:
        """Raise `InvalidSpec` if the engine was started so that it cannot serve the adapter, with the remedy."""

    def served(self, name: str) -> Slot | None:
        """What new requests for the name get."""

    async def switch(self, adapter: Adapter) -> Slot:
        """Load an adapter, then let new requests for its name get it. Raise `EngineFailed`, and nothing changed."""

    def in_flight(self, number: int) -> int:
        """Requests that a slot has yet to finish."""

    async def unload(self, number: int) -> None:
        """Free a slot. Raise `EngineFailed`."""
