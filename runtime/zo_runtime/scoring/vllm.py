"""The scorer that runs stock vLLM in this process (its workers too, unless tensor-parallel)."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from zo_runtime.config.model import Model
from zo_runtime.data.examples import Example
from zo_runtime.errors import EngineFailed, InvalidSpec, UnsupportedModel
from zo_runtime.scoring.plan import (
    Mode,
    Query,
    choose_mode,
    example_losses,
    plan_queries,
    step_items,
    step_losses,
)
from zo_runtime.scoring.protocol import Item, Judged, Losses, Part
from zo_runtime.scoring.refusal import refusal
from zo_runtime.scoring.shapes import quantization_method
from zo_runtime.vllm_ext.compat import shield_llvmlite
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.shards import ShardsDiffer, assemble

logger = logging.getLogger(__name__)

# The ranks that vLLM's LoRA slots come in (`MaxLoRARanks`), without 1, which no bank fits.
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
EXTENSION = "zo_runtime.vllm_ext.worker.ZOWorkerExtension"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine is sized. Memory is in bytes; None lets vLLM choose (on a GPU: most of it)."""

    tensor_parallel_size: int = 1
    kv_cache_bytes: int | None = None
    max_batched_tokens: int = 8192
    load_format: str = "auto"


def slot_rank(layout: BankLayout) -> int:
    """The smallest vLLM rank that holds the bank and one probe."""
    need = layout.adapter_rank + layout.rank
    for rank in VLLM_RANKS:
        if rank >= need:
            return rank
    raise InvalidSpec(
        f"spec.optimizer: rank {layout.rank} x (subspaces {layout.subspaces} + 1) = {need} is more than the "
        f"largest LoRA rank of vLLM, {VLLM_RANKS[-1]}: lower `rank` or `subspaces`"
    )


class VllmScorer:
    """`Scorer` on stock vLLM: probes are LoRA slots, and one batch scores all directions at both signs."""

    def __init__(self, model: Model, layout: BankLayout, method: Method, options: EngineOptions = EngineOptions()):
        self._method = method
        self._llm = _start_engine(model, layout, 2 * method.directions, options)
        self._compact = bool(self._llm.llm_engine.vllm_config.use_v2_model_runner)
        self.modes: set[Mode] = set()
        """Ways of asking that were used so far."""
        self.direct = False
        """Whether the ends of prompts are read straight from the model runner, where it is one that can be."""
        self._layout, self._name = layout, model.name
        self._set_up()

    @property
    def tokenizer(self) -> Any:
        """The model's own tokenizer."""
        return self._llm.get_tokenizer()

    def apply(self, updates: Sequence[Update]) -> None:
        """`Scorer.apply`."""
        if updates:
            wire = [(u.step, u.learning_rate, list(u.coefficients), u.after) for u in updates]
            self._llm.collective_rpc("zo_apply", args=(wire,))

    def score(self, examples: Sequence[Example], step: int) -> Losses:
        """`Scorer.score`: one engine batch of 2q copies of the prompts."""
        q = self._method.directions
        return step_losses(self.score_items(step_items(examples, q), step), q)

    def score_items(self, items: Sequence[Item], step: int) -> Part:
        """`PartialScorer.score_items`: one engine batch."""
        if not items:
            return Part([], 0)
        self._llm.collective_rpc("zo_probe", args=(step,))
        # Neighbours share a slot, which the run-wise LoRA turns into long runs.
        order = sorted((2 * j + minus, i) for i, (j, _) in enumerate(items) for minus in (0, 1))
        losses, tokens = self._losses([(slot, items[i][1]) for slot, i in order])
        of = {key: loss for key, (loss, _) in zip(order, losses, strict=True)}
        return Part([(of[2 * j, i], of[2 * j + 1, i]) for i, (j, _) in enumerate(items)], tokens)

    def judge(self, examples: Sequence[Example]) -> list[Judged]:
        """`Scorer.judge`, through the first slot without its probe."""
        if not examples:
            return []
        self._llm.collective_rpc("zo_clear")
        return self._losses([(0, example) for example in examples])[0]

    def reset(self) -> None:
        """`Scorer.reset`: set the slots up anew."""
        self._set_up()

    def digest(self) -> str:
        """`Scorer.digest`. The ranks of a tensor-parallel group hold parts, which have to make up one bank."""
        if self._ranks == 1:
            return str(self._llm.collective_rpc("zo_digest")[0])
        try:
            return assemble(self._llm.collective_rpc("zo_shard")).digest()
        except ShardsDiffer as error:
            raise EngineFailed(f"the ranks of the engine do not hold one bank: {error}") from error

    def close(self) -> None:
        """Stop the engine."""
        self._llm.llm_engine.engine_core.shutdown()

    def _set_up(self) -> None:
        layout = self._layout
        wire = {"tensors": [list(asdict(t).values()) for t in layout.tensors], "rank": layout.rank,
                "subspaces": layout.subspaces}  # fmt: skip
        slots = 2 * self._method.directions
        try:
            ranks = self._llm.collective_rpc("zo_setup", args=(wire, asdict(self._method), slots))
        except RuntimeError as error:  # another process's exceptions arrive as RuntimeError
            raise UnsupportedModel(f"spec.model.name: {self._name}: {error}") from error
        self._ranks = len(ranks)
        self.direct = all(rank["direct"] for rank in ranks)
        where = f"{_platform()}, over {len(ranks)} ranks" if len(ranks) > 1 else _platform()
        logger.info("LoRA on %s: %s layers through %s", where, ranks[0]["layers"], ranks[0]["lora"])

    def _mode(self, examples: Sequence[Example]) -> Mode:
        mode = choose_mode(examples, self._compact)
        if mode not in self.modes:
            logger.info("Scoring mode: %s", mode)
            self.modes.add(mode)
        return mode

    def _losses(self, tagged: Sequence[tuple[int, Example]]) -> tuple[list[Judged], int]:
        """Losses of examples, each through a slot, and the tokens that were run."""
        examples = [example for _, example in tagged]
        mode = self._mode(examples)
        plans = [(slot, query) for slot, example in tagged for query in plan_queries([example], mode)]
        direct = self.direct and mode == "last_token"
        answers = self._read(plans) if direct else self._ask(plans)
        return example_losses(examples, mode, answers), sum(len(query.tokens) for _, query in plans)

    def _read(self, plans: Sequence[tuple[int, Query]]) -> list[list[float]]:
        """What the queries want, straight from the model runner: logits, which differ from log-probabilities by one
        number for each prompt, and a cross-entropy over candidates by nothing."""
        prompts = [(slot, query.tokens, query.wanted) for slot, query in plans]
        found = self._llm.collective_rpc("zo_logits", args=(prompts,))
        return next(logits for logits in found if logits is not None)

    def _ask(self, plans: Sequence[tuple[int, Query]]) -> list[list[float]]:
        """What the queries want, by vLLM's public requests."""
        from zo_runtime.vllm_ext.slot_request import slot_request  # noqa: PLC0415 - vLLM is loaded by now

        requests = {slot: slot_request(slot) for slot, _ in plans}
        outputs = self._llm.generate(
            [{"prompt_token_ids": list(query.tokens)} for _, query in plans],
            [_sampling(query) for _, query in plans],
            lora_request=[requests[slot] for slot, _ in plans],
            use_tqdm=False,
        )
        return [_answer(query, output) for (_, query), output in zip(plans, outputs, strict=True)]


def _sampling(query: Query) -> Any:
    from vllm import SamplingParams  # noqa: PLC0415

    common: dict[str, Any] = {"max_tokens": 1, "temperature": 0.0, "detokenize": False}
    if query.mode == "last_token":
        return SamplingParams(logprob_token_ids=list(query.wanted), **common)
    if query.mode == "compact":
        start = len(query.tokens) - len(query.wanted) - 1
        rows = [[token] for token in query.wanted]
        return SamplingParams(prompt_logprob_token_ids=rows, prompt_logprob_start=start, **common)
    return SamplingParams(prompt_logprobs=0, **common)


def _answer(query: Query, output: Any) -> list[float]:
    """The log-probabilities that a query wanted, in its order."""
    if query.mode == "last_token":
        found = output.outputs[0].logprobs[0]
        return [found[token].logprob for token in query.wanted]
    if query.mode == "compact":
        return [float(row[0]) for row in output.prompt_token_id_logprobs]
    tail = output.prompt_logprobs[-len(query.wanted) :]
    return [row[token].logprob for row, token in zip(tail, query.wanted, strict=True)]


def _platform() -> str:
    from vllm.platforms import current_platform  # noqa: PLC0415

    return str(current_platform.device_type)


def prepare_process() -> None:
    """Make this process one that an engine can run in: the engine core beside the training loop, so that a step
    costs no message between processes, and no output of vLLM's but errors."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # stdout is for results
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    shield_llvmlite()


def _start_engine(model: Model, layout: BankLayout, slots: int, options: EngineOptions) -> Any:
    rank = slot_rank(layout)
    prepare_process()
    from vllm import LLM  # noqa: PLC0415
    from vllm.platforms import current_platform  # noqa: PLC0415

    from zo_runtime.vllm_ext.cpu_norm import PRIORITY  # noqa: PLC0415
    from zo_runtime.vllm_ext.cpu_ranks import bind_ranks  # noqa: PLC0415

    if current_platform.is_cpu():
        bind_ranks(options.tensor_parallel_size)
    modules = sorted({t.name.rsplit(".", 1)[-1] for t in layout.tensors})
    try:
        return LLM(
            model=model.name,
            revision=model.revision,
            dtype=model.dtype,
            quantization=model.quantization,
            trust_remote_code=model.trust_remote_code,
            max_model_len=model.max_length + 1,
            tensor_parallel_size=options.tensor_parallel_size,
            max_num_batched_tokens=max(options.max_batched_tokens, model.max_length + 1),
            kv_cache_memory_bytes=options.kv_cache_bytes,
            load_format=options.load_format,
            # On CPU vLLM never compiles beside LoRA; asked for eager mode it also takes its own CPU kernels.
            enforce_eager=current_platform.is_cpu(),
            enable_prefix_caching=False,  # the cache would not notice that a slot's weights changed in place
            enable_lora=True,
            max_lora_rank=rank,
            max_loras=slots,
            max_cpu_loras=slots,
            lora_target_modules=modules,
            ir_op_priority=PRIORITY if current_platform.is_cpu() else {},
            worker_extension_cls=EXTENSION,
            disable_log_stats=True,
            seed=0,
        )
    except Exception as error:  # of any class: a bare Exception, for one, when a rank does not start
        raise refusal(model, error, quantization_method(model), current_platform.device_type) from error
