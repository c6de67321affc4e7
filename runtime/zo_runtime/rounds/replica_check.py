"""Whether a replica is as good on held-out examples as the log says: what to ask it, and what the answers add up to.

Pure. The questions are such that any OpenAI-compatible vLLM server answers them: log-probabilities of given tokens
after a given text.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from zo_runtime.data.batches import epoch_order
from zo_runtime.data.examples import Example
from zo_runtime.deltalog.documents import Evaluation
from zo_runtime.rounds.check_result import CheckResult
from zo_runtime.scoring.plan import MAX_TOKEN_IDS, evaluation, example_losses
from zo_runtime.scoring.protocol import Judged

# One-sided, 99 %: a draw of examples that is no worse than it should be looks worse than is allowed once in 100.
_CERTAINTY = 2.326
# A share of examples is seldom a binary fraction: what is just allowed must not fail by rounding.
_ROUNDING = 1e-9

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. With `wanted`, the log-probabilities of these tokens right after `tokens`; without, those of the
    last `tail` of `tokens` themselves, each after the ones before it."""

    tokens: Tokens
    wanted: Tokens = ()
    tail: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a replica may fall short of the log by, and what it needs whatever the log says: accuracy from 0 to 1,
    loss in nats."""

    max_accuracy_drop: float
    max_loss_increase: float | None = None
    min_accuracy: float | None = None


def draw(examples: Sequence[Example], count: int | None) -> list[Example]:
    """At most so many of the examples, always the same ones, from all over them."""
    if count is None or count >= len(examples):
        return list(examples)
    return [examples[i] for i in sorted(epoch_order(0, 0, len(examples))[:count])]


def asks(example: Example) -> list[Ask]:
    """What to ask of one example. Candidates are told apart token by token, along the texts that they share, since
    that is the one thing that every server can do; a single continuation, which may be long, takes one request."""
    if len(example.candidates) == 1:
        (only,) = example.candidates
        return [Ask(example.prompt + only, tail=len(only))]
    found = []
    for prefix, wanted in _branches(example.candidates).items():
        for start in range(0, len(wanted), MAX_TOKEN_IDS):
            found.append(Ask(example.prompt + prefix, tuple(wanted[start : start + MAX_TOKEN_IDS])))
    return found


def judge(example: Example, answers: Sequence[Sequence[float]]) -> Judged:
    """Loss of an example and whether its true candidate scored best; `answers` are those to its `asks`, in order."""
    if len(example.candidates) == 1:
        return example_losses([example], "prompt_logprobs", answers)[0]
    feed, known = iter(answers), dict[Tokens, float]()
    for prefix, wanted in _branches(example.candidates).items():
        values = [value for _ in range(0, len(wanted), MAX_TOKEN_IDS) for value in next(feed)]
        known |= {(*prefix, token): value for token, value in zip(wanted, values, strict=True)}
    rows = [[known[candidate[: k + 1]] for k in range(len(candidate))] for candidate in example.candidates]
    return example_losses([example], "prompt_logprobs", rows)[0]


def _branches(candidates: Sequence[Tokens]) -> dict[Tokens, list[int]]:
    """From every proper prefix of the candidates to the tokens that follow it, in the order of their appearance."""
    found: dict[Tokens, dict[int, None]] = {}
    for candidate in candidates:
        for k, token in enumerate(candidate):
            found.setdefault(candidate[:k], {})[token] = None
    return {prefix: list(tokens) for prefix, tokens in found.items()}


def compare(judged: Sequence[Judged], logged: Evaluation, bounds: Bounds, *, same: bool) -> CheckResult:
    """The result. `same`: the examples are drawn from those of the log's evaluation; otherwise both are draws from
    the same kind of data. What drawing explains is allowed on top of the bounds: nothing where all are the same."""
    found, share = evaluation(judged), _share(len(judged), logged.examples, same=same)
    problems = []
    told = []
    if found.accuracy is not None and logged.accuracy is not None:
        allowed = bounds.max_accuracy_drop + _CERTAINTY * math.sqrt(_binary_variance(logged) * share)
        told.append(f"accuracy {found.accuracy:.4g}, {logged.accuracy:.4g} in the log, {allowed:.4g} less allowed")
        if logged.accuracy - found.accuracy > allowed + _ROUNDING:
            problems.append("AccuracyDropped")
    if found.accuracy is not None and bounds.min_accuracy is not None:
        told.append(f"an accuracy of {bounds.min_accuracy:.4g} is demanded")
        if found.accuracy < bounds.min_accuracy - _ROUNDING:
            problems.append("AccuracyTooLow")
    if bounds.max_loss_increase is not None:
        spread = statistics.variance(loss for loss, _ in judged) if len(judged) > 1 else 0.0
        allowed = bounds.max_loss_increase + _CERTAINTY * math.sqrt(spread * share)
        told.append(f"loss {found.loss:.4g}, {logged.loss:.4g} in the log, {allowed:.4g} more allowed")
        if not found.loss - logged.loss <= allowed + _ROUNDING:  # also where it is no number
            problems.append("LossRose")
    elif not math.isfinite(found.loss):
        told.append("the loss is not finite")
        problems.append("LossRose")
    return CheckResult(
        ok=True,
        reason=problems[0] if problems else "Passed",
        message=f"{'; '.join(told)}; on {found.examples} of {logged.examples} examples",
        passed=not problems,
        examples=found.examples,
        accuracy=found.accuracy,
        expected_accuracy=logged.accuracy,
        loss=found.loss if math.isfinite(found.loss) else None,
        expected_loss=logged.loss,
    )


def _share(drawn: int, logged: int, *, same: bool) -> float:
    """What the variance of one example is multiplied by to get that of the difference of both means."""
    if not same:
        return 1 / drawn + 1 / logged
    return max(0.0, (logged - drawn) / (logged - 1) / drawn) if logged > 1 else 0.0


def _binary_variance(logged: Evaluation) -> float:
    """Variance of being right, with one right and one wrong example added, so that it is never said to be none."""
    assert logged.accuracy is not None
    rate = (logged.accuracy * logged.examples + 1) / (logged.examples + 2)
    return rate * (1 - rate)
