"""How a probe's slot is named to vLLM."""

from __future__ import annotations

from vllm.lora.request import LoRARequest


def slot_request(index: int) -> LoRARequest:
    """The request tag of probe slot `index` >= 0. The path is never read: the slot is written in place."""
    return LoRARequest(lora_name=f"zo-probe-{index}", lora_int_id=index + 1, lora_path="/zo-probe-has-no-files")
