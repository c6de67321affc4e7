"""The versions of one model name that the engine has loaded: the one that is served, and former ones that drain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from zo_runtime.errors import InvalidSpec
from zo_runtime.serving.cache import Hold
from zo_runtime.serving.engine import Adapter, Engine, Slot
from zo_runtime.serving.plan import Draining


@dataclass(slots=True)
class Loaded:
    """A version in the engine. `since` is wall-clock time; the others are seconds of the clock."""

    adapter: Adapter
    slot: Slot
    hold: Hold
    since: datetime
    replaced_at: float | None = None
    idle_since: float | None = None


class LoadedVersions:
    """Follows the engine: whoever moved the name (this class, vLLM's resolver, a call to vLLM), `look` finds out."""

    def __init__(self, name: str, engine: Engine, clock: Callable[[], float]):
        self.served: Loaded | None = None
        """What new requests get."""
        self._name, self._engine, self._clock = name, engine, clock
        self._all: dict[str, Loaded] = {}

    def look(self) -> None:
        """Learn what the name points to now, and which former versions still answer requests."""
        slot, now = self._engine.served(self._name), self._clock()
        self.served = None
        for loaded in self._all.values():
            if slot is not None and slot.path == loaded.slot.path:
                self.served, loaded.slot = loaded, slot
                loaded.replaced_at = loaded.idle_since = None
            else:
                loaded.replaced_at = now if loaded.replaced_at is None else loaded.replaced_at
                if self._engine.in_flight(loaded.slot.number):
                    loaded.idle_since = None
                elif loaded.idle_since is None:
                    loaded.idle_since = now

    def is_served(self, adapter: Adapter) -> bool:
        """Whether the name points to an adapter, even one that this class has not loaded."""
        slot = self._engine.served(self._name)
        return slot is not None and slot.path == adapter.path

    def adopt(self, adapter: Adapter, hold: Hold) -> None:
        """Take over an adapter that the name points to already, and its claim."""
        slot = self._engine.served(self._name)
        assert slot is not None
        self._add(adapter, slot, hold)

    def get(self, version: str) -> Adapter | None:
        """A loaded version."""
        loaded = self._all.get(version)
        return None if loaded is None else loaded.adapter

    def draining(self) -> tuple[Draining, ...]:
        """Former versions that are still loaded."""
        return tuple(
            Draining(version, loaded.replaced_at, loaded.idle_since)
            for version, loaded in self._all.items()
            if loaded.replaced_at is not None
        )

    async def switch(self, adapter: Adapter, hold: Hold | None) -> None:
        """Load an adapter and point the name to it; `hold` is the claim on one that is not loaded yet.

        Raise `InvalidSpec` if the engine cannot serve it or the name belongs to somebody else, `EngineFailed`.
        """
        self._engine.require(adapter)
        before = self._engine.served(self._name)
        if before is not None and all(before.path != loaded.slot.path for loaded in self._all.values()):
            raise InvalidSpec(
                f"the model name {self._name} belongs to the LoRA adapter in {before.path} that vLLM was given "
                "otherwise; serve one of them under another name"
            )
        slot = await self._engine.switch(adapter)
        if hold is not None:
            self._add(adapter, slot, hold)

    async def unload(self, version: str) -> None:
        """Free the engine of a former version. Raise `EngineFailed`."""
        loaded = self._all.pop(version)
        try:
            await self._engine.unload(loaded.slot.number)
        finally:
            loaded.hold.release()

    def close(self) -> None:
        """Give up every claim."""
        for loaded in self._all.values():
            loaded.hold.release()

    def _add(self, adapter: Adapter, slot: Slot, hold: Hold) -> None:
        self._all[adapter.label] = Loaded(adapter, slot, hold, datetime.now(UTC))
