"""The sides of the step benchmark that run in vLLM."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from zo_runtime.config.model import Model
from zo_runtime.config.optimizer import DEFAULT_TARGETS
from zo_runtime.data.examples import Example
from zo_runtime.scoring.shapes import adapted_shapes
from zo_runtime.scoring.vllm import EngineOptions, VllmScorer, prepare_process
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.estimator import coefficients, power_of_two, projected_gradient
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method, Update

Side = Callable[[], float]
"""Does one unit of work (a step, or one forward of the batch) and returns its wall seconds."""


def ours_and_forward(
    model_dir: Path,
    examples: Sequence[Example],
    *,
    rank: int,
    interval: int,
    epsilon: float,
    learning_rate: float,
    seed: int,
) -> tuple[Side, Side, Callable[[], None]]:
    """One step of ours, vLLM's plain forward of the same prompts, and what shuts the engines down.

    The plain forward is an engine of its own without LoRA: no adapter slots, no wrapper on any layer. Both run the
    2 x len(examples) sequences that one step scores. The choice of normalization kernels belongs to the process, and
    the engine that starts last makes it: ours, so that the plain forward has the faster kernels too.
    """
    forward, close_forward = _plain_forward(model_dir, examples)
    model = Model(name=str(model_dir), max_length=512)
    layout = BankLayout(adapted_shapes(model, DEFAULT_TARGETS), rank, subspaces=4)
    method = Method(seed=seed, interval=interval, directions=1, epsilon=power_of_two(epsilon))
    scorer = VllmScorer(model, layout, method, EngineOptions(kv_cache_bytes=2**28))
    bank, steps = Bank(layout, method), itertools.count(1)

    def ours() -> float:
        start, step = time.perf_counter(), next(steps)
        losses = scorer.score(examples, step)
        gradient = projected_gradient(losses.plus[0], losses.minus[0], method.epsilon)
        update = Update(step, float(np.float32(learning_rate)), coefficients([gradient], learning_rate, None))
        scorer.apply([update])
        bank.apply([update])
        return time.perf_counter() - start

    def close() -> None:
        scorer.close()
        close_forward()

    return ours, forward, close


def _plain_forward(model_dir: Path, examples: Sequence[Example]) -> tuple[Side, Callable[[], None]]:
    prepare_process()
    from vllm import LLM, SamplingParams

    llm = LLM(
        model=str(model_dir),
        max_model_len=513,
        max_num_batched_tokens=8192,
        kv_cache_memory_bytes=2**28,
        enable_prefix_caching=False,
        enforce_eager=True,  # as with LoRA, where vLLM's CPU backend always runs eagerly
        disable_log_stats=True,
    )
    prompts = [{"prompt_token_ids": list(e.prompt)} for e in examples] * 2
    params = [
        SamplingParams(max_tokens=1, temperature=0, detokenize=False, logprob_token_ids=[c[0] for c in e.candidates])
        for e in examples
    ] * 2

    def forward() -> float:
        start = time.perf_counter()
        llm.generate(prompts, params, use_tqdm=False)
        return time.perf_counter() - start

    return forward, llm.llm_engine.engine_core.shutdown
