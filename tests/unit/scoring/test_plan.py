"""Queries and losses, checked against a direct computation from a made-up table of log-probabilities."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.data.examples import Example
from zo_runtime.scoring.plan import (
    MAX_TOKEN_IDS,
    choose_mode,
    evaluation,
    example_losses,
    plan_queries,
    step_items,
    step_losses,
)
from zo_runtime.scoring.protocol import Part

token = st.integers(0, 500)
words = st.lists(token, min_size=1, max_size=4).map(tuple)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    candidates = tuple(draw(st.lists(words, min_size=1, max_size=4, unique=True)))
    return Example(draw(words), candidates, draw(st.integers(0, len(candidates) - 1)))


def logprob(context: tuple[int, ...], token: int) -> float:
    """Any deterministic function of the context will do."""
    return -(abs(hash((context, token))) % 1000) / 100 - 0.01


def answer(mode: str, tokens: tuple[int, ...], wanted: tuple[int, ...]) -> list[float]:
    if mode == "last_token":
        return [logprob(tokens, t) for t in wanted]
    prompt = tokens[: len(tokens) - len(wanted)]
    return [logprob(prompt + wanted[:i], t) for i, t in enumerate(wanted)]


def direct_loss(e: Example) -> float:
    scores = [sum(logprob(e.prompt + c[:i], t) for i, t in enumerate(c)) for c in e.candidates]
    if len(scores) == 1:
        return -scores[0] / len(e.candidates[0])
    return -math.log(math.exp(scores[e.target]) / sum(map(math.exp, scores)))


@given(st.lists(examples(), min_size=1, max_size=5), st.booleans())
def test_losses_are_those_of_the_definition(batch: list[Example], compact: bool) -> None:
    mode = choose_mode(batch, compact)
    queries = plan_queries(batch, mode)
    losses = example_losses(batch, mode, [answer(q.mode, q.tokens, q.wanted) for q in queries])
    for e, (loss, right) in zip(batch, losses, strict=True):
        assert loss == pytest.approx(direct_loss(e), abs=1e-9)
        assert (right is None) == (len(e.candidates) == 1)
    assert evaluation(losses).loss == pytest.approx(sum(map(direct_loss, batch)) / len(batch), abs=1e-9)


def test_single_tokens_are_read_together_and_more_than_vllm_takes_are_split() -> None:
    e = Example((1, 2), tuple((i,) for i in range(MAX_TOKEN_IDS + 5)), 0)
    assert choose_mode([e], compact=True) == "last_token"
    assert [len(q.wanted) for q in plan_queries([e], "last_token")] == [MAX_TOKEN_IDS, 5]
    assert {q.tokens for q in plan_queries([e], "last_token")} == {(1, 2)}


def test_completion_never_uses_the_last_token_mode() -> None:
    e = Example((1, 2), ((3,),), 0)
    assert choose_mode([e], compact=False) == "prompt_logprobs"
    assert choose_mode([e], compact=True) == "compact"


def test_a_batch_of_impossible_candidates_has_no_finite_loss() -> None:
    e = Example((1,), ((2,), (3,)), 0)
    ((loss, _),) = example_losses([e], "last_token", [[-math.inf, -math.inf]])
    assert math.isnan(loss)


def test_accuracy_counts_only_choices() -> None:
    assert evaluation([(1.0, True), (1.0, False), (2.0, None)]).accuracy == 0.5
    assert evaluation([(1.0, None)]).accuracy is None


def test_a_steps_losses_are_means_by_direction_and_sign() -> None:
    batch = [Example((1,), ((2,), (3,)), 0), Example((4,), ((2,), (3,)), 1)]
    assert step_items(batch, 2) == [(0, batch[0]), (0, batch[1]), (1, batch[0]), (1, batch[1])]
    losses = step_losses(Part([(1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 9.0)], tokens=8), 2)
    assert (losses.plus, losses.minus, losses.tokens) == ((2.0, 6.0), (3.0, 7.5), 8)
