"""A model small enough to train in a blink: a softmax over bags of words whose only weights are the bank's.

It is a real learning problem and a real `Scorer` (losses come from the bank and the probes as defined), without an
engine. It can be slowed down, so that a test can kill a run in the middle.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from zo_runtime.data.examples import Example
from zo_runtime.deltalog.documents import ModelIdentity
from zo_runtime.scoring.plan import example_losses, step_items, step_losses
from zo_runtime.scoring.protocol import Item, Judged, Losses, Part
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.layout import BankLayout, TensorShape, subspace_of
from zo_runtime.zo.method import Method, Update

WORDS = ["bad", "awful", "dull", "boring", "good", "great", "fine", "lovely", "film", "plot", "the", "a"]
VOCABULARY = {word: i for i, word in enumerate(WORDS)} | {" no": 30, " yes": 31}
SIZE = 32


class ToyScorer:
    def __init__(self, layout: BankLayout, method: Method, step_seconds: float = 0.0):
        self.bank, self._pause = Bank(layout, method), step_seconds

    def apply(self, updates: Sequence[Update]) -> None:
        self.bank.apply(updates)

    def score(self, examples: Sequence[Example], step: int) -> Losses:
        q = self.bank.method.directions
        return step_losses(self.score_items(step_items(examples, q), step), q)

    def score_items(self, items: Sequence[Item], step: int) -> Part:
        time.sleep(self._pause)
        eps, pairs = self.bank.method.epsilon, []
        for direction, example in items:
            (plus, _), (minus, _) = (self._losses([example], e, step, direction)[0] for e in (eps, -eps))
            pairs.append((plus, minus))
        return Part(pairs, 2 * sum(len(e.prompt) for _, e in items))

    def judge(self, examples: Sequence[Example]) -> list[Judged]:
        return self._losses(examples, 0.0, 1, 0)

    def reset(self) -> None:
        self.bank = Bank(self.bank.layout, self.bank.method)

    def digest(self) -> str:
        return self.bank.digest()

    def close(self) -> None: ...

    def _losses(self, examples: Sequence[Example], scale: float, step: int, direction: int) -> list[Judged]:
        bank = self.bank
        weights = sum(bank.factor(0, k).astype(float) @ bank.basis(0, k) for k in range(bank.layout.subspaces))
        active = subspace_of(step, bank.method.interval, bank.layout.subspaces)
        weights = weights + scale * bank.direction(0, step, direction).astype(float) @ bank.basis(0, active)
        answers = []
        for example in examples:
            bag = np.bincount(example.prompt, minlength=SIZE) / len(example.prompt)
            logits = weights @ bag
            answers.append([float(logits[c[0] - 30]) for c in example.candidates])
        return example_losses(examples, "last_token", answers)


class ToyTokenizer:
    """The part of a Hugging Face tokenizer that the data room calls: words, split at spaces."""

    is_fast = True

    def __call__(self, texts: Sequence[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [self.encode(t) for t in texts]}

    def encode(self, text: str, **_: object) -> list[int]:
        if text in VOCABULARY:
            return [VOCABULARY[text]]
        return [VOCABULARY.get(word, 20 + len(word) % 10) for word in text.split()]


class ToyModel:
    """`inputs.BaseModel` of the toy."""

    def __init__(self, step_seconds: float = 0.0, digest: str = "7" * 64):
        self._pause, self._digest = step_seconds, digest

    def identity(self) -> ModelIdentity:
        return ModelIdentity(name="toy", digest=self._digest, dtype="float32")

    def tokenizer(self) -> ToyTokenizer:
        return ToyTokenizer()

    def layout(self, rank: int, subspaces: int) -> BankLayout:
        return BankLayout((TensorShape("toy.q_proj", 2, SIZE),), rank, subspaces)

    def accelerators(self) -> int:
        return 0

    def start(self, layout: BankLayout, method: Method) -> ToyScorer:
        return ToyScorer(layout, method, self._pause)
