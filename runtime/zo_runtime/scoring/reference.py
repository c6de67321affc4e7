"""The readable scorer: plain Transformers, no engine. Tests hold the vLLM scorer against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from zo_runtime.data.examples import Example
from zo_runtime.scoring.plan import example_losses, step_losses
from zo_runtime.scoring.protocol import Judged, Losses, Part
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.layout import BankLayout, subspace_of
from zo_runtime.zo.method import Method, Update


class ReferenceScorer:
    """`Scorer` on a Transformers model: each adapted layer adds x A^T B^T to its output, bank and probe together."""

    def __init__(self, model: Any, layout: BankLayout, method: Method):
        """`model` is a causal language model whose linear layers the layout names; it computes in its own type."""
        self._model = model.eval()
        self._bank = Bank(layout, method)
        self._factors: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        modules = dict(model.named_modules())
        for i, tensor in enumerate(layout.tensors):
            modules[tensor.name].register_forward_hook(self._hook(i))
        self._load(0.0, 1, 0)

    def apply(self, updates: Sequence[Update]) -> None:
        """`Scorer.apply`."""
        self._bank.apply(updates)

    def score(self, examples: Sequence[Example], step: int) -> Losses:
        """`Scorer.score`."""
        bank = self._bank
        pairs: list[tuple[float, float]] = []
        for j in range(bank.method.directions):
            signs = []
            for sign in (1.0, -1.0):
                self._load(sign * bank.method.epsilon, step, j)
                signs.append([loss for loss, _ in self._losses(examples)])
            pairs += zip(*signs, strict=True)
        tokens = 2 * bank.method.directions * sum(len(e.prompt) for e in examples)
        return step_losses(Part(pairs, tokens), bank.method.directions)

    def judge(self, examples: Sequence[Example]) -> list[Judged]:
        """`Scorer.judge`."""
        self._load(0.0, 1, 0)
        judged: list[Judged] = self._losses(examples)
        return judged

    def reset(self) -> None:
        """`Scorer.reset`."""
        self._bank = Bank(self._bank.layout, self._bank.method)

    def digest(self) -> str:
        """`Scorer.digest`."""
        return self._bank.digest()

    def close(self) -> None:
        """Nothing to release."""

    def _hook(self, tensor: int) -> Callable[..., torch.Tensor]:
        def add(_module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            b, a = self._factors[tensor]
            return output + inputs[0] @ a.t() @ b.t()

        return add

    def _load(self, scale: float, step: int, direction: int) -> None:
        """Set each layer's B [out, (K+1) r] and A [(K+1) r, in]: the bank, then scale * U with the step's A_k."""
        bank = self._bank
        active = subspace_of(step, bank.method.interval, bank.layout.subspaces)
        for i in range(len(bank.layout.tensors)):
            pairs = [(bank.factor(i, k), bank.basis(i, k)) for k in range(bank.layout.subspaces)]
            pairs.append((bank.direction(i, step, direction) * np.float32(scale), bank.basis(i, active)))
            self._factors[i] = (
                torch.from_numpy(np.concatenate([b for b, _ in pairs], axis=1)).to(self._model.dtype),
                torch.from_numpy(np.concatenate([a for _, a in pairs], axis=0)).to(self._model.dtype),
            )

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _losses(self, examples: Sequence[Example]) -> list[Judged]:
        sequences = [(e.prompt, candidate) for e in examples for candidate in e.candidates]
        longest = max(len(prompt) + len(candidate) for prompt, candidate in sequences)
        # Padding on the right: no token sees what comes after it.
        ids = [
            (*prompt, *candidate, *[0] * (longest - len(prompt) - len(candidate))) for prompt, candidate in sequences
        ]
        logits = self._model(torch.tensor(ids)).logits
        answers = []
        for (prompt, candidate), rows in zip(sequences, logits, strict=True):
            logs = rows[len(prompt) - 1 :].double().log_softmax(-1)
            answers.append([logs[i, token].item() for i, token in enumerate(candidate)])
        return example_losses(examples, "prompt_logprobs", answers)
