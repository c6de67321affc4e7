"""What the product says when vLLM does not start."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError, field_validator

from zo_runtime.config.model import Model
from zo_runtime.errors import EngineFailed, UnsupportedModel, ZOError
from zo_runtime.scoring.refusal import refusal

NO_KERNEL = ValueError("Failed to find a kernel that can implement\nthe WNA16 linear layer.")
NO_OP = RuntimeError("_C::static_scaled_fp8_quant() expected at most 0 argument(s) but received 4 argument(s)")


def said(error: Exception, *, asked: str | None = None, found: str | None = None, device: str = "cpu") -> ZOError:
    return refusal(Model(name="base", quantization=asked), error, asked or found, device)


@pytest.mark.parametrize(
    "error", [NO_KERNEL, NO_OP, NotImplementedError("w4a4"), AssertionError(), ImportError("torchao")]
)
def test_a_quantization_that_the_platform_lacks_names_the_field_the_value_and_a_remedy(error: Exception) -> None:
    in_the_checkpoint = said(error, found="gptq with 8 bits")
    assert isinstance(in_the_checkpoint, UnsupportedModel)
    assert str(in_the_checkpoint).startswith(
        "spec.model.name: base: vLLM does not run its quantization, gptq with 8 bits, on cpu ("
    )
    assert "): give the unquantized model, or a checkpoint of one of the methods that docs/quantization.md" in str(
        in_the_checkpoint
    )
    in_the_manifest = said(error, asked="fp8")
    assert isinstance(in_the_manifest, UnsupportedModel)
    assert str(in_the_manifest).startswith("spec.model.quantization: fp8: vLLM does not run base with it on cpu (")
    assert "): leave the field out, or give one of the methods that docs/quantization.md lists for cpu" in str(
        in_the_manifest
    )


def test_the_sentence_is_one_line_of_bearable_length() -> None:
    text = str(said(ValueError("no\n" * 1000), found="awq"))
    assert "\n" not in text
    assert len(text) < 700


@pytest.mark.parametrize(
    ("error", "device"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "cuda"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), "cpu"),
        (OSError("No space left on device"), "cpu"),
        (Exception("WorkerProc initialization failed"), "cpu"),
    ],
)
def test_what_may_pass_is_worth_a_retry_whatever_the_base(error: Exception, device: str) -> None:
    assert isinstance(said(error, found="awq", device=device), EngineFailed)


class Engine(BaseModel):
    """As vLLM's configurations: what they refuse comes in a frame."""

    problem: str

    @field_validator("problem")
    @classmethod
    def _refuse(cls, text: str) -> str:
        raise ValueError(text)


def test_what_vllms_configurations_refuse_is_told_without_the_frame() -> None:
    def refused(text: str) -> str:
        with pytest.raises(ValidationError) as error:
            Engine(problem=text)
        return str(said(error.value, found="awq"))

    heads = "Total number of attention heads (9) must be divisible by tensor parallel size (2)."
    assert refused(heads) == f"spec.model.name: base: vLLM refuses it: {heads}"
    assert "does not run its quantization, awq, on cpu (Unknown quantization method: x)" in refused(
        "Unknown quantization method: x"
    )


def test_a_plain_base_is_refused_by_vllms_own_words() -> None:
    cause = ValueError("Total number of attention heads (9) must be divisible by tensor parallel size (2).")
    error = said(cause)
    assert isinstance(error, UnsupportedModel)
    assert str(error) == f"spec.model.name: base: vLLM refuses it: {cause}"
    assert isinstance(said(NO_OP), EngineFailed)
