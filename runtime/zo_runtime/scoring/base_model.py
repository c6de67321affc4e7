"""The base model of a manifest as vLLM will load it: identity, tokenizer, shapes, and the engine."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from zo_runtime.config.document import RunSpec
from zo_runtime.deltalog.documents import ModelIdentity
from zo_runtime.errors import UnsupportedModel
from zo_runtime.scoring.protocol import PartialScorer
from zo_runtime.scoring.shapes import adapted_shapes, model_digest
from zo_runtime.scoring.vllm import EngineOptions, VllmScorer, slot_rank
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method


class VllmModel:
    """`inputs.BaseModel` on stock vLLM."""

    def __init__(self, spec: RunSpec, options: EngineOptions):
        self._spec, self._options = spec, options

    def identity(self) -> ModelIdentity:
        """Name and digest of the weights; the digest reads every byte of them once."""
        model = self._spec.model
        return ModelIdentity(
            name=model.name,
            revision=model.revision,
            digest=model_digest(model),
            dtype=model.dtype,
            quantization=model.quantization,
        )

    @cached_property
    def _tokenizer(self) -> Any:
        import transformers  # noqa: PLC0415

        model = self._spec.model
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                model.name, revision=model.revision, trust_remote_code=model.trust_remote_code
            )
        except (OSError, ValueError, KeyError) as error:
            raise self._without_tokenizer(" ".join(str(error).split())[:300]) from error
        # Where its files are missing, Transformers makes some kinds of tokenizers up, with special tokens alone.
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            raise self._without_tokenizer("no file with a vocabulary")
        return tokenizer

    def _without_tokenizer(self, why: str) -> UnsupportedModel:
        return UnsupportedModel(
            f"spec.model.name: {self._spec.model.name}: no tokenizer there ({why}): give a Hugging Face id or a "
            f"folder with a tokenizer beside the weights"
        )

    def tokenizer(self) -> Any:
        """The model's Hugging Face tokenizer."""
        return self._tokenizer

    def layout(self, rank: int, subspaces: int) -> BankLayout:
        """The bank over the layers that `spec.optimizer.targetModules` selects. Raise `InvalidSpec` for a rank
        that vLLM lacks, before any weights are loaded."""
        shapes = adapted_shapes(self._spec.model, self._spec.optimizer.target_modules)
        layout = BankLayout(shapes, rank, subspaces)
        slot_rank(layout)
        return layout

    def accelerators(self) -> int:
        """How many GPUs the engine takes; none on a CPU."""
        import torch  # noqa: PLC0415 - only where an engine is about to start

        return self._options.tensor_parallel_size if torch.cuda.is_available() else 0

    def start(self, layout: BankLayout, method: Method) -> PartialScorer:
        """Load the engine. Raise `UnsupportedModel` or `EngineFailed`."""
        return VllmScorer(self._spec.model, layout, method, self._options)
