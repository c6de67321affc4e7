"""The resolver that vLLM asks for a model name that it does not know: `vllm.general_plugins`.

vLLM calls the entry point in each of its processes, so nothing heavy is imported here.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from vllm.lora.request import LoRARequest
from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry

from zo_runtime.vllm_ext.compat import shield_llvmlite

if TYPE_CHECKING:
    from zo_runtime.serving.follower import Follower

PLUGIN = "zofinetune"


class DeltaLogResolver(LoRAResolver):  # type: ignore[misc]
    """Builds a desired adapter when a request asks for it before the follower has loaded it.

    vLLM asks only with `VLLM_ALLOW_RUNTIME_LORA_UPDATING`; without, a name is known once the follower has loaded it.
    `follower` is set by the endpoint plugin of the same process.
    """

    follower: Follower | None = None

    async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None:
        """The request tag of the desired version, which vLLM numbers itself; None if there is none to have."""
        from zo_runtime.vllm_ext.serving_engine import lora_request  # noqa: PLC0415 - not in vLLM's workers

        adapter = None if self.follower is None else await self.follower.resolve(lora_name)
        return None if adapter is None else lora_request(adapter)


RESOLVER = DeltaLogResolver()


def register() -> None:
    """`vllm.general_plugins`. vLLM calls it unasked where `VLLM_PLUGINS` is not set at all."""
    if "llvmlite" in sys.modules:  # a spawned rank of a program that imports numba, which starts just after this call
        shield_llvmlite()
    if PLUGIN in os.environ.get("VLLM_PLUGINS", "").split(","):
        LoRAResolverRegistry.register_resolver(PLUGIN, RESOLVER)
