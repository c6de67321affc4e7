"""What a model's configuration says of its size. No weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zo_runtime.config.model import Model
from zo_runtime.scoring.shapes import shapes_of, skeleton
from zo_runtime.zo.layout import TensorShape

# Bits of one weight, by vLLM's name of the method; where groups of weights share a scale, with that.
_METHOD_BITS = {"fp8": 8.0, "fbgemm_fp8": 8.0, "modelopt": 8.0, "experts_int8": 8.0, "bitsandbytes": 4.25,
                "awq": 4.25, "awq_marlin": 4.25, "gptq": 4.25, "gptq_marlin": 4.25, "modelopt_fp4": 4.5}  # fmt: skip
_FP8_METHODS = ("fp8", "fbgemm_fp8", "modelopt")
_SCALE_BITS = 0.25


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Sizes of a model. `linear` are its linear layers without the output head; experts are no linear layers."""

    name: str
    parameters: int
    linear: tuple[TensorShape, ...]
    experts: int
    """Weights of all experts of a mixture; 0 for a dense model."""
    expert_share: float
    """Of the experts' weights, that one token goes through."""
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    value_bytes: int
    """Of an activation, and of a weight that is not quantized."""
    quantization: str | None
    weight_bits: float
    """Of a weight of a linear layer or an expert."""
    fp8: bool
    """Whether products run in fp8 where the device can."""

    @property
    def linear_weights(self) -> int:
        """Weights of the linear layers and all experts."""
        return self.experts + sum(t.out_features * t.in_features for t in self.linear)

    @property
    def weights_a_token(self) -> float:
        """Weights of linear layers and experts that one token is multiplied with."""
        return self.linear_weights - self.experts * (1 - self.expert_share)

    @property
    def weight_bytes(self) -> float:
        """All weights as they lie in memory."""
        others = self.parameters - self.linear_weights
        return self.linear_weights * self.weight_bits / 8 + others * self.value_bytes

    @property
    def kv_bytes_a_token(self) -> int:
        """Keys and values of one token in all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.value_bytes


def read_facts(model: Model) -> ModelFacts:
    """Look at the configuration. Raise `UnsupportedModel` where there is none."""
    return facts_of(skeleton(model), model)


def facts_of(module: Any, model: Model) -> ModelFacts:
    """The facts of a model on the meta device."""
    config = module.config.get_text_config()
    head = module.get_output_embeddings()
    head_name = next((name for name, part in module.named_modules() if part is head), None)
    experts = sum(p.numel() for p in module.parameters() if p.ndim == 3)
    of, all_ = (_first(config, *names) for names in (_CHOSEN, _EXPERTS))
    heads = config.num_attention_heads
    method, bits = quantization_of(model.quantization, getattr(module.config, "quantization_config", None))
    value_bytes = 4 if model.dtype == "float32" else 2  # vLLM takes `auto` for half precision
    return ModelFacts(
        name=model.name,
        parameters=sum(p.numel() for p in module.parameters()),
        linear=tuple(s for s in shapes_of(module) if s.name != head_name),
        experts=experts,
        expert_share=of / all_ if experts and of and all_ else 1.0,
        vocabulary=config.vocab_size,
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=_first(config, "num_key_value_heads") or heads,
        head_dim=_first(config, "head_dim") or config.hidden_size // heads,
        value_bytes=value_bytes,
        quantization=method,
        weight_bits=8.0 * value_bytes if bits is None else bits,
        fp8=method in _FP8_METHODS,
    )


_CHOSEN = ("num_experts_per_tok", "moe_topk")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


def quantization_of(asked: str | None, checkpoint: Any) -> tuple[str | None, float | None]:
    """The method's name, and bits of one weight where they are known. `asked` is the manifest's, `checkpoint` the
    configuration's `quantization_config`."""
    settings = checkpoint if isinstance(checkpoint, dict) else {}
    method = asked or settings.get("quant_method")
    if method is None:
        return None, None
    if "bits" in settings:
        return method, settings["bits"] + _SCALE_BITS
    if settings.get("load_in_8bit"):
        return method, 8.0
    widths = [group["weights"]["num_bits"] for group in settings.get("config_groups", {}).values()]
    if widths:
        return method, max(widths) + _SCALE_BITS
    return method, _METHOD_BITS.get(method)


def _first(config: Any, *names: str) -> int | None:
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return None
