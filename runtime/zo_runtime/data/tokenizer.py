"""From text to token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable


class Tokenizer(Protocol):
    """What the data room asks of a tokenizer. Those of Hugging Face transformers have this method."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of `text`; with `add_special_tokens`, as the model expects a whole prompt (a first BOS, say)."""


@runtime_checkable
class BatchTokenizer(Tokenizer, Protocol):
    """A tokenizer that takes many texts at a time, which is several times faster."""

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[list[int]]:
        """Token ids of each text."""


class HuggingFaceTokenizer:
    """A `transformers` tokenizer as a `BatchTokenizer`.

    Nothing is truncated or padded, whatever the tokenizer's own settings say: too long a record has to be seen.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of one text."""
        return self.encode_batch([text], add_special_tokens=add_special_tokens)[0]

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[list[int]]:
        """Token ids of each text."""
        ids: list[list[int]] = self._tokenizer(
            list(texts),
            add_special_tokens=add_special_tokens,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return ids


def encode_all(tokenizer: Tokenizer, texts: Sequence[str], *, add_special_tokens: bool) -> list[list[int]]:
    """Token ids of each text, in one call where the tokenizer can."""
    if not texts:  # which some tokenizers do not take
        return []
    if isinstance(tokenizer, BatchTokenizer):
        return tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)
    return [tokenizer.encode(text, add_special_tokens=add_special_tokens) for text in texts]
