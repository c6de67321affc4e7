"""The sides of the step benchmark that run in vLLM."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

KV_CACHE = 2**28
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
    2 x len(examples) sequences that one step scores. Both have our normalization kernels and our setting
    of the allocator, which belong to the process.
    """
    forward = PlainForward(model_dir)
    loop = OursLoop(str(model_dir), rank, interval, epsilon, learning_rate, seed)

    def close() -> None:
        loop.close()
        forward.close()

    return lambda: loop.step(examples).seconds, lambda: forward.run(examples), close


@dataclass(frozen=True, slots=True)
class OurStep:
    """One step: the two losses in nats, and where the seconds went."""

    loss_plus: float
    loss_minus: float
    seconds: float
    score_seconds: float
    update_seconds: float


class OursLoop:
    """The runtime's step without data, log and observers: probe, score, estimate, update both banks."""

    def __init__(
        self,
        model_dir: str,
        rank: int = 2,
        interval: int = 50,
        epsilon: float = 2**-10,
        learning_rate: float = 3e-5,
        seed: int = 0,
        random_weights: bool = False,
        kv_cache_bytes: int = KV_CACHE,
    ) -> None:
        """Start an engine on the model. With `random_weights` the folder need hold no weights."""
        model = Model(name=model_dir, max_length=512)
        layout = BankLayout(adapted_shapes(model, DEFAULT_TARGETS), rank, subspaces=4)
        method = Method(seed=seed, interval=interval, directions=1, epsilon=power_of_two(epsilon))
        options = EngineOptions(kv_cache_bytes=kv_cache_bytes, load_format="dummy" if random_weights else "auto")
        self._scorer = VllmScorer(model, layout, method, options)
        self._bank, self._method, self._rate = Bank(layout, method), method, float(np.float32(learning_rate))
        self.parameters = sum(tensor.out_features * tensor.in_features for tensor in layout.tensors)

    def step(self, batch: Sequence[Example]) -> OurStep:
        """Score the batch at +eps and -eps and update."""
        start, step = time.perf_counter(), self._bank.step + 1
        losses = self._scorer.score(batch, step)
        scored = time.perf_counter()
        gradient = projected_gradient(losses.plus[0], losses.minus[0], self._method.epsilon)
        update = Update(step, self._rate, coefficients([gradient], self._rate, None))
        self._scorer.apply([update])
        self._bank.apply([update])
        end = time.perf_counter()
        return OurStep(losses.plus[0], losses.minus[0], end - start, scored - start, end - scored)

    def close(self) -> None:
        """Stop the engine."""
        self._scorer.close()


class PlainForward:
    """vLLM as it is, without LoRA."""

    def __init__(self, model_dir: Path) -> None:
        """Start an engine on the model."""
        prepare_process()
        from vllm import LLM

        self._llm = LLM(
            model=str(model_dir),
            max_model_len=513,
            max_num_batched_tokens=8192,
            kv_cache_memory_bytes=KV_CACHE,
            enable_prefix_caching=False,
            enforce_eager=True,  # as with LoRA, where vLLM's CPU backend always runs eagerly
            disable_log_stats=True,
        )

    def run(self, examples: Sequence[Example]) -> float:
        """Run every prompt twice, as a step does, and read the candidates' scores; wall seconds."""
        from vllm import SamplingParams

        prompts = [{"prompt_token_ids": list(e.prompt)} for e in examples] * 2
        params = [
            SamplingParams(
                max_tokens=1, temperature=0, detokenize=False, logprob_token_ids=[c[0] for c in e.candidates]
            )
            for e in examples
        ] * 2
        start = time.perf_counter()
        self._llm.generate(prompts, params, use_tqdm=False)
        return time.perf_counter() - start

    def close(self) -> None:
        """Stop the engine."""
        self._llm.llm_engine.engine_core.shutdown()
