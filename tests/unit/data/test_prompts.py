"""From records to examples, with a tokenizer whose every token can be told."""

from __future__ import annotations

import pytest

from fixtures.words import BOS, CountingTokenizer, WordTokenizer
from zo_runtime.config.objective import Classification, Completion, Objective
from zo_runtime.data.examples import Example
from zo_runtime.data.formats import Record
from zo_runtime.data.prompts import ExampleBuilder, drafter_for
from zo_runtime.data.quarantine import Entry
from zo_runtime.data.tokenizer import Tokenizer
from zo_runtime.errors import InvalidSpec

TOKENIZER = WordTokenizer(["good", "bad", " It", " was", " great", " terrible", " a", " b", " c"])
LABELS = {"0": " terrible", "1": " great"}


def classification(**changes: object) -> Objective:
    return Objective(classification=Classification(prompt="{text} It was", **{"labels": LABELS} | changes))


def build(
    objective: Objective, *values: dict[str, object], max_length: int = 100, tokenizer: Tokenizer = TOKENIZER
) -> list[Example | Entry]:
    builder = ExampleBuilder(drafter_for(objective, tokenizer), tokenizer, max_length)
    return builder.build([Record(f"f:{number}", value) for number, value in enumerate(values, 1)])


def reasons(built: list[Example | Entry]) -> list[str | None]:
    return [each.reason.value if isinstance(each, Entry) else None for each in built]


def test_classification_has_one_candidate_a_label() -> None:
    built = build(classification(), {"text": "good", "label": "1"}, {"text": "bad", "label": 0})
    assert built == [
        Example((BOS, 1000, 1002, 1003), ((1005,), (1004,)), 1),
        Example((BOS, 1001, 1002, 1003), ((1005,), (1004,)), 0),
    ]


def test_completion_has_the_records_own_candidate() -> None:
    objective = Objective(completion=Completion(prompt="{text}", completion=" {answer}"))
    built = build(objective, {"text": "good", "answer": "a b"}, {"text": "bad"}, {"text": "bad", "answer": "c"})
    assert built[::2] == [Example((BOS, 1000), ((1006, 1007),), 0), Example((BOS, 1001), ((1008,),), 0)]
    assert reasons(built) == [None, "missing field", None]


def test_label_words_may_have_several_tokens() -> None:
    (example,) = build(classification(labels={"0": " a b", "1": " c"}), {"text": "good", "label": "0"})
    assert isinstance(example, Example)
    assert example.candidates == ((1006, 1007), (1008,))


def test_special_tokens_are_for_prompts_only() -> None:
    (example,) = build(classification(), {"text": "good", "label": "1"})
    assert isinstance(example, Example)
    assert example.prompt[0] == BOS
    assert all(BOS not in candidate for candidate in example.candidates)


def test_records_that_do_not_fit_are_told_apart() -> None:
    built = build(
        classification(),
        {"text": "good", "label": "2"},
        {"text": " ", "label": "1"},
        {"label": "1"},
        {"text": ["good"], "label": "1"},
        {"text": "good", "label": None},
        {"text": "good a a a", "label": "1"},
        {"text": "good", "label": "1"},
        max_length=7,
    )
    assert reasons(built) == [
        "unknown label",
        "empty text",
        "missing field",
        "not text",
        "missing field",
        "too long",
        None,
    ]
    details = [each.detail for each in built if isinstance(each, Entry)]
    assert details[0] == "label '2' is none of '0', '1'"
    assert details[5] == "8 tokens, more than the 7 of spec.model.maxLength"


def test_the_longest_candidate_counts() -> None:
    objective = classification(labels={"0": " a b c", "1": " great"})
    for length, reason in ((7, None), (6, "too long")):
        assert reasons(build(objective, {"text": "good", "label": "1"}, max_length=length)) == [reason]


def test_a_completion_without_tokens_is_empty() -> None:
    objective = Objective(completion=Completion(prompt="{text}", completion="{answer}"))
    assert reasons(build(objective, {"text": "good", "answer": ""})) == ["empty text"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"labels": {"0": " ok", "1": " great"}, "single_token": True},
            r"labels\['0'\]: the label word ' ok' splits into 3 tokens, \[34, 113, 109\], where singleToken",
        ),
        ({"labels": {"0": " great", "1": " great"}}, r"labels\['1'\]: .* as that of '0'"),
        ({"labels": {"0": "", "1": " great"}}, r"labels\['0'\]: the label word '' has no token"),
    ],
)
def test_bad_label_words_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidSpec, match=rf"^spec\.objective\.classification\.{said}"):
        drafter_for(classification(**changes), TOKENIZER)


def test_the_fields_that_records_must_have() -> None:
    assert drafter_for(classification(label_field="y"), TOKENIZER).fields == (
        ("spec.objective.classification.prompt", "text"),
        ("spec.objective.classification.labelField", "y"),
    )
    objective = Objective(completion=Completion(prompt="{a}{b}", completion="{c}"))
    assert [name for _, name in drafter_for(objective, TOKENIZER).fields] == ["a", "b", "c"]


def test_texts_are_tokenized_in_batches() -> None:
    tokenizer = CountingTokenizer(["good", " great", " terrible"])
    values = [{"text": f"good {number}", "label": "1"} for number in range(50)]
    assert build(classification(), *values, tokenizer=tokenizer) == build(
        classification(), *values, tokenizer=WordTokenizer(["good", " great", " terrible"])
    )
    assert tokenizer.batches == [2, 50], "the label words, then all prompts; no call without texts"
