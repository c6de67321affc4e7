"""A real `transformers` tokenizer behind the data room's protocol."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from zo_runtime.config.objective import Classification, Objective
from zo_runtime.data.examples import Example
from zo_runtime.data.formats import Record
from zo_runtime.data.prompts import ExampleBuilder, drafter_for
from zo_runtime.data.tokenizer import HuggingFaceTokenizer, encode_all

BOS = 0


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Words with their leading space, a first BOS, and settings that would truncate and pad."""
    words = ["<s>", "Fine", "ĠIt", "Ġwas", "Ġgreat", "Ġterrible", "ĠĠ", "?"]
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    inner.enable_truncation(3)
    inner.enable_padding(length=9, pad_id=7, pad_token="?")
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", pad_token="?", model_max_length=4)


def test_neither_truncates_nor_pads(tokenizer: PreTrainedTokenizerFast) -> None:
    wrapped = HuggingFaceTokenizer(tokenizer)
    texts = ["Fine It was great", " great", "Fine It It It It It It It It It It"]
    prompts = encode_all(wrapped, texts, add_special_tokens=True)
    assert prompts == [[BOS, 1, 2, 3, 4], [BOS, 4], [BOS, 1, *[2] * 10]]
    assert encode_all(wrapped, texts, add_special_tokens=False) == [ids[1:] for ids in prompts]
    assert [wrapped.encode(text, add_special_tokens=True) for text in texts] == prompts


def test_makes_examples(tokenizer: PreTrainedTokenizerFast) -> None:
    wrapped = HuggingFaceTokenizer(tokenizer)
    labels = {"0": " terrible", "1": " great"}
    objective = Objective(classification=Classification(prompt="{text} It was", labels=labels, single_token=True))
    builder = ExampleBuilder(drafter_for(objective, wrapped), wrapped, 16)
    assert builder.build([Record("f:1", {"text": "Fine", "label": 1})]) == [Example((BOS, 1, 2, 3), ((5,), (4,)), 1)]
