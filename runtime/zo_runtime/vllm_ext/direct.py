"""Scores read straight from the model runner: one call of the model, and no request queue, scheduler or sampler.

vLLM's public way gives each prompt a request, samples a token that nobody wants, and takes a log-softmax over the
whole vocabulary to read two numbers. The runner itself wants only what a scheduler would tell it: the prompts, and
blocks of the KV cache. Between the public requests of a scorer none is under way and prefix caching is off, so all
blocks are free.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.core.sched.output import NewRequestData, SchedulerOutput
from vllm.v1.worker.cpu_model_runner import CPUModelRunner

from zo_runtime.vllm_ext.slot_request import slot_request
from zo_runtime.vllm_ext.waves import Room, waves

Prompt = tuple[int, Sequence[int], Sequence[int]]
"""A slot, the tokens to run through it, and the token ids whose logits after the last of them are wanted."""
# A runner without a task of another kind must be told how to sample; nothing is sampled.
_UNUSED = SamplingParams(max_tokens=1, temperature=0.0)


def can_read_directly(runner: Any) -> bool:
    """Whether this is a runner whose ways are known here: that of the CPU, with one kind of attention.

    GPUs have another runner (V2) in most cases; it is asked the public way.
    """
    return (
        isinstance(runner, CPUModelRunner)
        and len(runner.kv_cache_config.kv_cache_groups) == 1
        and runner.speculative_config is None
        and runner.parallel_config.pipeline_parallel_size == 1
    )


class DirectReader:
    """Reads logits through one worker's model runner. Every rank of a tensor-parallel group does the same calls."""

    def __init__(self, runner: Any):
        cache = runner.kv_cache_config
        self._runner = runner
        # Block 0 is vLLM's null block.
        block_size = cache.kv_cache_groups[0].kv_cache_spec.block_size
        self._room = Room(runner.max_num_tokens, runner.max_num_reqs, cache.num_blocks - 1, block_size)
        self._names = (f"zo-direct-{i}" for i in count())

    def logits(self, prompts: Sequence[Prompt]) -> list[list[float]] | None:
        """The wanted logits of each prompt; None on a rank that does not get them."""
        found: list[list[float]] = []
        for wave in waves([len(tokens) for _, tokens, _ in prompts], self._room):
            part = self._run([prompts[i] for i in wave])
            if part is None:
                return None
            found.extend(part)
        return found

    def _run(self, prompts: Sequence[Prompt]) -> list[list[float]] | None:
        runner = self._runner
        names = [next(self._names) for _ in prompts]
        runner.execute_model(self._begin(names, prompts))
        logits: torch.Tensor | None = runner.execute_model_state.logits
        rows = dict(runner.input_batch.req_id_to_index)
        runner.execute_model_state = None
        end = SchedulerOutput.make_empty()
        end.finished_req_ids = set(names)
        runner.execute_model(end)
        if logits is None:
            return None
        return [
            logits[rows[name], list(wanted)].float().tolist()
            for name, (_, _, wanted) in zip(names, prompts, strict=True)
        ]

    def _begin(self, names: Sequence[str], prompts: Sequence[Prompt]) -> SchedulerOutput:
        work, block = SchedulerOutput.make_empty(), 1
        for name, (slot, tokens, _) in zip(names, prompts, strict=True):
            need = self._room.blocks_of(len(tokens))
            work.scheduled_new_reqs.append(
                NewRequestData(
                    req_id=name,
                    prompt_token_ids=list(tokens),
                    mm_features=[],
                    sampling_params=_UNUSED,
                    pooling_params=None,
                    block_ids=(list(range(block, block + need)),),
                    num_computed_tokens=0,
                    lora_request=slot_request(slot),
                )
            )
            work.num_scheduled_tokens[name] = len(tokens)
            work.total_num_scheduled_tokens += len(tokens)
            block += need
        return work
