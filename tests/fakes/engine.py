"""An engine that loads adapters by reading their manifests, and a builder in a thread of this process."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from zo_runtime.errors import EngineFailed, InvalidSpec
from zo_runtime.serving.build import AdapterFactory
from zo_runtime.serving.cache import MANIFEST
from zo_runtime.serving.engine import Adapter, Slot
from zo_runtime.serving.manifest import Dtype
from zo_runtime.serving.wire import BuildRequest, Built


class FakeEngine:
    """`Engine`. `names` is the registry, `loaded` the slots; `failures` are those of the next calls."""

    def __init__(self, model: Path, slots: int = 4, max_rank: int = 8):
        self.model, self.revision, self.slots = str(model), None, slots
        self.dtype: Dtype = "float32"
        self.names: dict[str, Slot] = {}
        self.loaded: dict[int, Path] = {}
        self.requests: Counter[int] = Counter()
        self.failures: list[str] = []
        self.log: list[str] = []
        self._max_rank = max_rank
        self._next = 100

    def require(self, adapter: Adapter) -> None:
        if adapter.manifest.rank > self._max_rank:
            raise InvalidSpec(f"rank {self._max_rank} is too small")

    def served(self, name: str) -> Slot | None:
        return self.names.get(name)

    async def switch(self, adapter: Adapter) -> Slot:
        slot = self.names.get(adapter.name)
        if slot is not None and slot.path == adapter.path:
            return slot
        known = next((n for n, path in self.loaded.items() if path == adapter.path), None)
        if known is None:
            await asyncio.sleep(0)
            if self.failures:
                raise EngineFailed(self.failures.pop())
            assert (adapter.path / MANIFEST).is_file()
            self._next += 1
            known = self._next
            self.loaded[known] = adapter.path
        self.names[adapter.name] = Slot(known, adapter.path)
        self.log.append(adapter.label)
        return self.names[adapter.name]

    def in_flight(self, number: int) -> int:
        return self.requests[number]

    async def unload(self, number: int) -> None:
        assert not self.requests[number], "unloaded under a request"
        assert number not in {slot.number for slot in self.names.values()}, "unloaded what is served"
        del self.loaded[number]


class ThreadBuilder:
    """`Builder` without a process. `calls` counts builds; a build waits for `gate`."""

    def __init__(self) -> None:
        self._factory = AdapterFactory(threads=1)
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def build(self, request: BuildRequest) -> Built:
        self.calls += 1
        await self.gate.wait()
        return await asyncio.to_thread(self._factory.build, request)

    async def close(self) -> None: ...
