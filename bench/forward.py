"""What a batch costs in the Transformers loops: how it is padded, run forward, and turned into a loss.

The authors' classification runs (`--train_as_classification`, the setting of their OPT scripts for SST-2) score
one sequence *per candidate*, left-padded to a multiple of 8, take the full logits of all positions, a log-softmax
over the vocabulary at all positions, the mean over each candidate's tokens, and a cross-entropy over the
candidates. `Variant.CANDIDATES` is that. Our runtime scores one sequence *per example*, so the benchmark compares
it with `Variant.ONE_SEQUENCE`, which halves the authors' sequences and leaves out their log-softmax; with label
words of one token the loss is the same number. `Variant.TUNED` is the same loss with what a careful user could
still save: logits at the label position only, no padding to 8, and updates truly in place.
Source: Chen et al., arXiv 2410.07698, and the authors' repository optsuite/LOZO (large_models), read in 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere

from zo_runtime.data.examples import Example


class Variant(StrEnum):
    """How a loop does its work; the loss and the estimator are the same in all."""

    ONE_SEQUENCE = "one-sequence"
    """One sequence per example; otherwise the authors' code. What our runtime is compared with."""
    CANDIDATES = "candidates"
    """One sequence per candidate: the authors' own classification setting, twice the sequences for two labels."""
    TUNED = "tuned"
    """One sequence per example, logits at one position, in-place arithmetic: faster than the authors' code."""


def batch_loss(model: Any, batch: Sequence[Example], variant: Variant, pad_token: int) -> float:
    """Mean cross-entropy over the candidates of each example, in nats, without gradients.

    Raises ValueError where a variant with one sequence per example meets a candidate of several tokens.
    """
    with torch.inference_mode():
        if variant is Variant.CANDIDATES:
            return _candidate_loss(model, batch, pad_token)
        return _label_word_loss(model, batch, pad_token, tuned=variant is Variant.TUNED)


def left_pad(rows: Sequence[Sequence[int]], pad_token: int, multiple: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, both int64 (rows, length), length rounded up to `multiple`."""
    length = -(-max(len(row) for row in rows) // multiple) * multiple
    tokens = torch.tensor([[pad_token] * (length - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    return tokens, mask


def _label_word_loss(model: Any, batch: Sequence[Example], pad_token: int, *, tuned: bool) -> float:
    if any(len(candidate) != 1 for example in batch for candidate in example.candidates):
        raise ValueError("candidates: one sequence per example needs label words of one token each")
    tokens, mask = left_pad([example.prompt for example in batch], pad_token, 1 if tuned else 8)
    if tuned:
        # Not `logits_to_keep=1`: on CPU, torch 2.13 then copies the whole vocabulary matrix once per row.
        hidden = model.base_model(**_inputs(model, tokens, mask)).last_hidden_state
        logits = model.get_output_embeddings()(hidden[:, -1, :].contiguous())
    else:
        logits = model(**_inputs(model, tokens, mask)).logits[:, -1, :]
    words = torch.tensor([[candidate[0] for candidate in example.candidates] for example in batch])
    scores = logits.gather(1, words.to(logits.device)).float()
    return float(F.cross_entropy(scores, _targets(batch).to(scores.device)).item())


def _candidate_loss(model: Any, batch: Sequence[Example], pad_token: int) -> float:
    options = [candidate for example in batch for candidate in example.candidates]
    rows = list(chain.from_iterable([(*e.prompt, *c) for c in e.candidates] for e in batch))
    tokens, mask = left_pad(rows, pad_token, 8)
    logits = model(**_inputs(model, tokens, mask)).logits
    tokens = tokens.to(logits.device)
    log_probabilities = F.log_softmax(logits[:, :-1, :].contiguous(), dim=-1)
    chosen = log_probabilities.gather(-1, tokens[:, 1:].unsqueeze(-1)).squeeze(-1)
    # Rows are right-aligned, so a candidate of n tokens is the last n columns.
    columns = torch.arange(chosen.shape[1], 0, -1, device=chosen.device)
    lengths = torch.tensor([len(option) for option in options], device=chosen.device).unsqueeze(-1)
    scores = (chosen * (columns <= lengths)).sum(-1) / lengths.squeeze(-1)
    return float(F.cross_entropy(scores.view(len(batch), -1).float(), _targets(batch).to(scores.device)).item())


def _inputs(model: Any, tokens: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
    return {"input_ids": tokens.to(model.device), "attention_mask": mask.to(model.device), "use_cache": False}


def _targets(batch: Sequence[Example]) -> torch.Tensor:
    return torch.tensor([example.target for example in batch])
