"""The exported adapter in the programs it is for: PEFT and stock vLLM."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fixtures.logs import make_row, run_info
from zo_runtime.adapter.export import export_peft
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.estimator import round_coefficient
from zo_runtime.zo.layout import BankLayout, TensorShape
from zo_runtime.zo.method import Method, Update

METHOD = Method(seed=5, interval=2, directions=1, epsilon=2.0**-10)
HIDDEN, INNER, LAYERS = 32, 48, 2
SHAPES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN // 2, HIDDEN),
    "self_attn.v_proj": (HIDDEN // 2, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
LAYOUT = BankLayout(
    tuple(TensorShape(f"model.layers.{i}.{name}", *shape) for i in range(LAYERS) for name, shape in SHAPES.items()),
    rank=2,
    subspaces=3,
)


def trained() -> Bank:
    """A bank whose change to the model is large enough to see."""
    bank = Bank(LAYOUT, METHOD)
    bank.apply(
        Update(t, 1e-3, (round_coefficient(1e-3 * (1 if make_row(t).cursor % 32 else -1)),)) for t in range(1, 13)
    )
    return bank


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    export_peft(trained(), run_info(LAYOUT, METHOD), tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_peft_adds_exactly_b_times_a(adapter: Path) -> None:
    from peft import PeftModel
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        dtype="float32",
    )
    model = LlamaForCausalLM(config).eval()
    tokens = torch.randint(0, 64, (2, 9))
    with torch.no_grad():
        base = model(tokens).logits
        weights = {name: p.clone() for name, p in model.named_parameters()}
        bank = trained()
        for index, shape in enumerate(LAYOUT.tensors):
            change = sum(
                torch.from_numpy(bank.factor(index, k)) @ torch.from_numpy(bank.basis(index, k)) for k in range(3)
            )
            model.get_parameter(f"{shape.name}.weight").add_(change)
        explicit = model(tokens).logits
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])
        adapted = PeftModel.from_pretrained(model, str(adapter)).eval()(tokens).logits
    assert (explicit - base).abs().max() > 1e-2
    assert (adapted - explicit).abs().max() < 1e-5


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
def test_stock_vllm_loads_it(adapter: Path) -> None:
    from vllm.config.lora import LoRAConfig
    from vllm.lora.lora_model import LoRAModel
    from vllm.lora.peft_helper import PEFTHelper

    helper = PEFTHelper.from_local_dir(str(adapter), max_position_embeddings=None)
    helper.validate_legal(LoRAConfig(max_lora_rank=8, max_loras=1))
    assert helper.vllm_lora_scaling_factor == 1.0
    modules = {name.rsplit(".", 1)[-1] for name in SHAPES}
    loaded = LoRAModel.from_local_checkpoint(str(adapter), modules, helper, device="cpu", lora_model_id=1)
    assert set(loaded.loras) == {shape.name for shape in LAYOUT.tensors}
    stored = load_file(adapter / "adapter_model.safetensors")
    for name, lora in loaded.loras.items():
        assert lora.rank == LAYOUT.adapter_rank
        assert torch.equal(lora.lora_a, stored[f"base_model.model.{name}.lora_A.weight"])
        assert torch.equal(lora.lora_b, stored[f"base_model.model.{name}.lora_B.weight"])
