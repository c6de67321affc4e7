"""Projected gradients of the same directions by vLLM, by plain float32 Transformers, and by Transformers in vLLM's
own type. Run as a script: an engine needs a process of its own. Prints one line of JSON: for each objective, the
three lists of gradients and the three losses at the bank; and vLLM's losses at the ends of prompts, read directly and
asked for by its public requests."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
import transformers

from zo_runtime.config.model import Model
from zo_runtime.config.optimizer import DEFAULT_TARGETS
from zo_runtime.data.examples import Example
from zo_runtime.scoring.plan import Mode, evaluation
from zo_runtime.scoring.protocol import Scorer
from zo_runtime.scoring.reference import ReferenceScorer
from zo_runtime.scoring.shapes import adapted_shapes
from zo_runtime.scoring.vllm import EngineOptions, VllmScorer
from zo_runtime.zo.estimator import projected_gradient
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method, Update

TEXTS = [
    "a gripping and thoughtful story from start to finish .",
    "the jokes fall flat and the plot makes no sense",
    "warm , funny and beautifully acted",
    "it never decides what it wants to be",
]
LABELS = [1, 0, 1, 0]
OBJECTIVES: dict[str, tuple[str, ...]] = {
    "single": (" terrible", " great"),
    "several": (" not worth seeing", " worth every minute"),
    "completion": (" and that is my honest opinion.",),
}
DIRECTIONS = 12


def examples(tokenizer: Any, words: tuple[str, ...]) -> list[Example]:
    candidates = tuple(tuple(tokenizer.encode(w)) for w in words)
    return [
        Example(tuple(tokenizer.encode(f"{text} It was")), candidates, label if len(words) > 1 else 0)
        for text, label in zip(TEXTS, LABELS, strict=True)
    ]


def gradients(scorer: Scorer, batch: list[Example], epsilon: float) -> list[float]:
    losses = scorer.score(batch, 2)
    return [projected_gradient(p, m, epsilon) for p, m in zip(losses.plus, losses.minus, strict=True)]


def main() -> None:
    name, dtype = sys.argv[1:]
    model = Model(name=name, max_length=128, dtype=dtype)  # type: ignore[arg-type]
    layout = BankLayout(adapted_shapes(model, DEFAULT_TARGETS), rank=2, subspaces=2)
    method = Method(seed=3, interval=1, directions=DIRECTIONS, epsilon=2.0**-10)
    scorer = VllmScorer(model, layout, method, EngineOptions(kv_cache_bytes=2**28))
    scorers: list[Scorer] = [scorer]
    for precision in (torch.float32, getattr(torch, dtype)):
        plain = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=precision)
        scorers.append(ReferenceScorer(plain, layout, method))
    for one in scorers:  # a bank that is not zero, in one subspace; the probe is in the other
        one.apply([Update(1, 0.0, tuple(2.0**-12 * (-1) ** j for j in range(DIRECTIONS)))])
    out: dict[str, Any] = {"digests": [one.digest() for one in scorers]}
    for objective, words in OBJECTIVES.items():
        batch = examples(scorer.tokenizer, words)
        out[objective] = {
            "gradients": [gradients(one, batch, method.epsilon) for one in scorers],
            "losses": [evaluation(one.judge(batch)).loss for one in scorers],
        }
    assert scorer.direct
    batch = examples(scorer.tokenizer, OBJECTIVES["single"])
    both = []
    for scorer.direct in (True, False):
        losses = scorer.score(batch, 2)
        both.append([*losses.plus, *losses.minus, *(loss for loss, _ in scorer.judge(batch))])
    out["direct"], out["public"] = both
    modes: set[Mode] = scorer.modes
    out["modes"] = sorted(modes)
    print(json.dumps(out))
    scorer.close()


if __name__ == "__main__":
    main()
