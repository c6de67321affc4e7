"""Scoring a replica through its API, and comparing with the log: the pure part."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.data.examples import Example
from zo_runtime.deltalog.documents import Evaluation
from zo_runtime.rounds.replica_check import Ask, Bounds, asks, compare, draw, judge
from zo_runtime.scoring.plan import example_losses

tokens = st.integers(0, 5)
candidate = st.lists(tokens, min_size=1, max_size=3).map(tuple)
several = st.lists(candidate, min_size=2, max_size=5, unique=True)


def log_probability(prefix, token):
    """A made-up model: any function of the text before and the token."""
    return -1 - (hash((prefix, token)) % 1000) / 250


def answers(example):
    return [
        [log_probability(ask.tokens, token) for token in ask.wanted]
        if ask.wanted
        else [
            log_probability(ask.tokens[:place], ask.tokens[place])
            for place in range(len(ask.tokens) - ask.tail, len(ask.tokens))
        ]
        for ask in asks(example)
    ]


@given(several, st.data())
def test_candidates_are_judged_as_the_engine_would(candidates, data):
    target = data.draw(st.integers(0, len(candidates) - 1))
    example = Example((7, 8, 9), tuple(candidates), target)
    text = example.prompt
    rows = [[log_probability(text + c[:k], c[k]) for k in range(len(c))] for c in candidates]
    assert judge(example, answers(example)) == example_losses([example], "compact", rows)[0]
    assert all(len(set(ask.wanted)) == len(ask.wanted) for ask in asks(example))
    assert len({ask.tokens for ask in asks(example)}) == len(asks(example)), "no text is run twice"


def test_label_words_of_one_token_take_one_request():
    example = Example((1, 2), ((3,), (4,)), 1)
    assert asks(example) == [Ask((1, 2), (3, 4))]
    loss, right = judge(example, [[math.log(0.25), math.log(0.75)]])
    assert right
    assert loss == pytest.approx(-math.log(0.75))


def test_many_labels_are_asked_in_parts():
    example = Example((1,), tuple((token,) for token in range(300)), 299)
    found = asks(example)
    assert [len(ask.wanted) for ask in found] == [128, 128, 44]
    values = [[-1.0 - token for token in ask.wanted] for ask in found]
    assert judge(example, values)[1] is False


def test_one_completion_takes_one_request():
    example = Example((1, 2), ((3, 4, 5),), 0)
    assert asks(example) == [Ask((1, 2, 3, 4, 5), tail=3)]
    assert judge(example, [[-1.0, -2.0, -3.0]]) == (2.0, None)


@given(st.integers(1, 50), st.one_of(st.none(), st.integers(1, 60)))
def test_a_draw_is_the_same_each_time_and_from_all_over(size, count):
    examples = [Example((n,), ((1,),), 0) for n in range(size)]
    found = draw(examples, count)
    assert found == draw(examples, count)
    assert len(found) == min(size, count or size)
    assert sorted(found, key=lambda example: example.prompt) == found


def test_a_draw_does_not_take_the_first():
    examples = [Example((n,), ((1,),), 0) for n in range(1000)]
    assert sum(example.prompt[0] for example in draw(examples, 100)) == pytest.approx(50_000, rel=0.2)


def judged(right, wrong, loss=0.5):
    return [(loss, True)] * right + [(loss, False)] * wrong


LOG = Evaluation(loss=0.5, accuracy=0.9, examples=1000)


@pytest.mark.parametrize(
    ("right", "wrong", "same", "passed"),
    [
        (900, 100, True, True), (880, 120, True, True), (879, 121, True, False), (0, 1000, True, False),
        (1000, 0, True, True),
        (85, 15, True, True), (78, 22, True, False), (500, 500, False, False), (870, 130, False, True),
    ],
)  # fmt: skip
def test_how_much_accuracy_may_be_lost(right, wrong, same, passed):
    found = compare(judged(right, wrong), LOG, Bounds(0.02), same=same)
    assert found.passed == passed
    assert found.reason == ("Passed" if passed else "AccuracyDropped")
    assert (found.accuracy, found.expected_accuracy) == (right / (right + wrong), 0.9)
    assert f"on {right + wrong} of 1000 examples" in found.message


@pytest.mark.parametrize(
    ("right", "bound", "passed"), [(800, 0.8, True), (799, 0.8, False), (0, 0.0, True), (900, None, True)]
)
def test_a_version_that_is_as_bad_as_its_log_says_is_still_bad(right, bound, passed):
    log = Evaluation(loss=0.5, accuracy=right / 1000, examples=1000)
    found = compare(judged(right, 1000 - right), log, Bounds(0.02, min_accuracy=bound), same=True)
    assert found.passed == passed
    assert found.reason == ("Passed" if passed else "AccuracyTooLow")
    assert ("0.8 is demanded" in found.message) == (bound == 0.8)


def test_without_an_accuracy_none_is_demanded():
    log = Evaluation(loss=0.5, accuracy=None, examples=10)
    assert compare([(0.5, None)] * 10, log, Bounds(0.0, 1.0, min_accuracy=0.9), same=True).passed


def test_on_the_very_same_examples_nothing_is_allowed_on_top():
    assert "0.02 less allowed" in compare(judged(900, 100), LOG, Bounds(0.02), same=True).message
    assert "0.02 less allowed" not in compare(judged(90, 10), LOG, Bounds(0.02), same=True).message


@pytest.mark.parametrize(
    ("loss", "bound", "passed"),
    [
        (0.5, 0.0, True), (0.6, 0.1, True), (0.61, 0.1, False), (math.nan, 0.1, False), (math.inf, None, False),
        (9, None, True),
    ],
)  # fmt: skip
def test_how_much_the_loss_may_rise(loss, bound, passed):
    log = Evaluation(loss=0.5, accuracy=None, examples=10)
    found = compare([(loss, None)] * 10, log, Bounds(1.0, bound), same=True)
    assert found.passed == passed
    assert found.reason == ("Passed" if passed else "LossRose")
    assert found.to_termination_message().isascii()


@given(st.integers(1, 400))
def test_a_sound_replica_seldom_fails_by_the_draw_alone(drawn):
    """A replica that is just as good as the log says, on a random part of 1,000 examples: the exact probability, for
    a sample of draws fails by chance itself."""
    sound, wrong = 900, 100
    failing = 0
    for right in range(max(0, drawn - wrong), drawn + 1):
        if not compare(judged(right, drawn - right), LOG, Bounds(0.0), same=True).passed:
            failing += math.comb(sound, right) * math.comb(wrong, drawn - right)
    assert failing / math.comb(sound + wrong, drawn) <= 0.1
