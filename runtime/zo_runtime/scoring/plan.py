"""From examples to the few log-probabilities an engine must give, and from those to losses. Pure.

Three ways to ask, best first:

- `last_token`: every candidate is one token; one request reads all of them at the end of the prompt. Every vLLM
  model runner can do it.
- `compact`: one request per candidate, which reads just the candidate's tokens (`prompt_logprob_token_ids`, vLLM's
  V2 model runner).
- `prompt_logprobs`: one request per candidate, which reads the log-probability of every prompt token and keeps
  the candidate's: more logits than needed, for model runners that lack the compact way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zo_runtime.data.examples import Example
from zo_runtime.scoring.protocol import Evaluation, Item, Judged, Losses, Part

Mode = Literal["last_token", "compact", "prompt_logprobs"]
# vLLM reads at most this many token ids in one request (`MAX_LOGPROB_TOKEN_IDS`).
MAX_TOKEN_IDS = 128


@dataclass(frozen=True, slots=True)
class Query:
    """One engine request. `tokens` is the prompt to run.

    In `last_token` mode `wanted` holds the token ids to read after the last token. In the other modes it holds
    the last tokens of `tokens` itself, each to be read at the position before it.
    """

    mode: Mode
    tokens: tuple[int, ...]
    wanted: tuple[int, ...]


def choose_mode(examples: Sequence[Example], compact: bool) -> Mode:
    """The best mode for these examples; `compact` says whether the engine has compact prompt scores."""
    if all(len(e.candidates) > 1 and all(len(c) == 1 for c in e.candidates) for e in examples):
        return "last_token"
    return "compact" if compact else "prompt_logprobs"


def plan_queries(examples: Sequence[Example], mode: Mode) -> list[Query]:
    """The requests of a batch, in the examples' order."""
    queries = []
    for example in examples:
        if mode == "last_token":
            ids = tuple(c[0] for c in example.candidates)
            for start in range(0, len(ids), MAX_TOKEN_IDS):
                queries.append(Query(mode, example.prompt, ids[start : start + MAX_TOKEN_IDS]))
        else:
            queries.extend(Query(mode, example.prompt + c, c) for c in example.candidates)
    return queries


def example_losses(examples: Sequence[Example], mode: Mode, answers: Sequence[Sequence[float]]) -> list[Judged]:
    """Loss of each example, and whether the true candidate has the best score (None with one candidate).

    `answers[i]` are the log-probabilities that query i wanted, in its order. A candidate's score is the sum over
    its tokens. With several candidates the loss is the cross-entropy over their scores, with one it is the mean
    negative log-likelihood of its tokens. Sums run in a fixed order in float64.
    """
    feed = iter(answers)
    out: list[Judged] = []
    for example in examples:
        if mode == "last_token":
            scores: list[float] = []
            while len(scores) < len(example.candidates):
                scores.extend(next(feed))
        else:
            scores = [math.fsum(next(feed)) for _ in example.candidates]
        if len(scores) == 1:
            out.append((-scores[0] / len(example.candidates[0]), None))
        else:
            best = max(range(len(scores)), key=scores.__getitem__)
            out.append((_log_sum_exp(scores) - scores[example.target], best == example.target))
    return out


def step_items(examples: Sequence[Example], directions: int) -> list[Item]:
    """All items of a step, by direction."""
    return [(j, example) for j in range(directions) for example in examples]


def step_losses(part: Part, directions: int) -> Losses:
    """The means over the examples from the losses of all items of a step."""
    count = len(part.pairs) // directions
    per_direction = [part.pairs[j * count : (j + 1) * count] for j in range(directions)]
    plus, minus = ([math.fsum(pair[sign] for pair in pairs) / count for pairs in per_direction] for sign in (0, 1))
    return Losses(tuple(plus), tuple(minus), part.tokens)


def evaluation(judged: Sequence[Judged]) -> Evaluation:
    """The mean loss, and the share whose true candidate scored best (None where there is nothing to choose)."""
    rights = [right for _, right in judged if right is not None]
    loss = math.fsum(loss for loss, _ in judged) / len(judged)
    return Evaluation(loss, sum(rights) / len(rights) if rights else None, len(judged))


def _log_sum_exp(scores: Sequence[float]) -> float:
    top = max(scores)
    if not math.isfinite(top):
        return math.nan
    return top + math.log(math.fsum(math.exp(s - top) for s in scores))
