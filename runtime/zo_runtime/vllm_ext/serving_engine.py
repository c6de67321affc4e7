"""vLLM as `serving.engine.Engine`: through the engine client and the models registry that the server hands out.

Two traps of vLLM 0.32 decide how adapters are numbered and named:

- Two `LoRARequest`s of one name are equal whatever their numbers, so a batch with two versions of one name would
  activate only one of them, and the engine dies of the other's missing slot. Hence every version has its own name in
  the engine, `<model>@<version>`; the registry's key is the name that clients call.
- vLLM numbers the adapters that it loads by itself from 1. Numbers here begin at 2^30 and follow from name and path,
  so that several API servers of one engine agree. The prefix cache goes by name and path: they are equal only for
  equal weights.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm.lora.request import LoRARequest

from zo_runtime.errors import EngineFailed, InvalidSpec
from zo_runtime.serving.engine import Adapter, Slot
from zo_runtime.serving.manifest import Dtype

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.engine.protocol import EngineClient
    from vllm.entrypoints.openai.models.serving import OpenAIServingModels

_FIRST_NUMBER = 2**30
_DTYPES: dict[str, Dtype] = {"bfloat16": "bfloat16", "float16": "float16"}


def lora_request(adapter: Adapter) -> LoRARequest:
    """The adapter as vLLM knows it."""
    name, path = adapter.engine_name, str(adapter.path)
    digest = hashlib.sha256(f"{name}\n{path}".encode()).digest()
    number = _FIRST_NUMBER + int.from_bytes(digest[:4], "big") % _FIRST_NUMBER
    return LoRARequest(lora_name=name, lora_int_id=number, lora_path=path)


class VllmEngine:
    """`Engine` on a running vLLM server."""

    def __init__(self, client: EngineClient, models: OpenAIServingModels):
        config: VllmConfig = client.vllm_config
        self._client, self._models, self._lora = client, models, config.lora_config
        self.model: str = config.model_config.model
        self.revision: str | None = config.model_config.revision
        self.dtype: Dtype = "float32"
        self.slots = 0
        if self._lora is not None:
            self.dtype = _DTYPES.get(str(self._lora.lora_dtype).removeprefix("torch."), "float32")
            self.slots = self._lora.max_loras

    def require(self, adapter: Adapter) -> None:
        """`Engine.require`."""
        lora, manifest = self._lora, adapter.manifest
        if lora is None:
            raise InvalidSpec("vLLM was started without LoRA; add --enable-lora")
        if lora.max_loras < 2:
            raise InvalidSpec(f"--max-loras {lora.max_loras} leaves no room for a switch; give at least 2")
        if lora.max_lora_rank < manifest.rank:
            raise InvalidSpec(
                f"--max-lora-rank {lora.max_lora_rank} is below the adapter's rank; give at least {manifest.rank}"
            )
        if lora.target_modules is not None and (missing := set(manifest.modules) - set(lora.target_modules)):
            raise InvalidSpec(
                f"--lora-target-modules leaves out {', '.join(sorted(missing))}, which the adapter changes; add them"
            )
        if self._models.is_base_model(adapter.name):
            raise InvalidSpec(
                f"{adapter.name} is the base model's name; give the desired state another, or --served-model-name"
            )

    def served(self, name: str) -> Slot | None:
        """`Engine.served`."""
        request = self._models.lora_requests.get(name)
        return None if request is None else Slot(request.lora_int_id, Path(request.lora_path))

    async def switch(self, adapter: Adapter) -> Slot:
        """`Engine.switch`."""
        async with self._models.lora_resolver_lock[adapter.name]:
            slot = self.served(adapter.name)
            if slot is not None and slot.path == adapter.path:  # vLLM's resolver was faster
                return slot
            request = lora_request(adapter)
            await _call(self._client.add_lora(request), f"load {adapter.engine_name}")
            self._models.lora_requests[adapter.name] = request
        return Slot(request.lora_int_id, adapter.path)

    def in_flight(self, number: int) -> int:
        """`Engine.in_flight`."""
        states: dict[str, Any] = self._client.output_processor.request_states
        requests = (state.lora_request for state in states.values())
        return sum(request is not None and request.lora_int_id == number for request in requests)

    async def unload(self, number: int) -> None:
        """`Engine.unload`."""
        await _call(self._client.remove_lora(number), f"unload the adapter {number}")


async def _call(request: Any, what: str) -> None:
    """Await the engine's answer. It tells every failure as a plain `Exception`, with the worker's text."""
    task = asyncio.ensure_future(request)
    await asyncio.wait({task})
    if (error := task.exception()) is not None:
        text = " ".join(str(error).split())[-500:] or type(error).__name__
        raise EngineFailed(f"vLLM did not {what}: {text}")
