"""Templates: what they render, and what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.data.quarantine import Reason, Unfit
from zo_runtime.data.template import Template, field_text
from zo_runtime.errors import InvalidSpec

texts = st.text(st.characters(codec="utf-8"), max_size=30)
names = st.text(st.characters(codec="utf-8", exclude_characters="{}"), min_size=1, max_size=10)


@given(texts)
def test_text_with_doubled_braces_is_literal(text: str) -> None:
    template = Template.parse(text.replace("{", "{{").replace("}", "}}"), "here")
    assert template.fields == ()
    assert template.render({}) == text


@given(st.lists(st.tuples(texts, names), min_size=1, max_size=5), texts, texts)
def test_fields_are_replaced_where_they_stand(parts: list[tuple[str, str]], end: str, value: str) -> None:
    def escape(text: str) -> str:
        return text.replace("{", "{{").replace("}", "}}")

    template = Template.parse("".join(f"{escape(text)}{{{name}}}" for text, name in parts) + escape(end), "here")
    assert template.fields == tuple(name for _, name in parts)
    filled = template.render({name: f"<{value}>" for _, name in parts})
    assert filled == "".join(f"{text}<{value}>" for text, _ in parts) + end


def test_nothing_in_a_field_is_evaluated() -> None:
    template = Template.parse("{a.__class__} {b!r:>10} {{{c}}}", "here")
    assert template.render({"a.__class__": "{x}", "b!r:>10": "y", "c": 1}) == "{x} y {1}"


@pytest.mark.parametrize(
    ("text", "place"), [("a { b", 3), ("a } b", 3), ("{}", 1), ("{a{b}", 1), ("{{{", 3), ("x {a} }", 7)]
)
def test_a_stray_brace_is_refused_with_its_place(text: str, place: int) -> None:
    with pytest.raises(InvalidSpec, match=rf"^prompt: the brace at character {place} .*write \{{field\}}"):
        Template.parse(text, "prompt")


@pytest.mark.parametrize(
    ("value", "text"),
    [("a b ", "a b "), (7, "7"), (-1.5, "-1.5"), (1e-7, "1e-07"), (True, "true"), (False, "false"), ("", "")],
)
def test_values_become_text(value: object, text: str) -> None:
    assert field_text({"x": value}, "x") == text


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, Reason.MISSING_FIELD),
        ({"x": None}, Reason.MISSING_FIELD),
        ({"x": float("nan")}, Reason.MISSING_FIELD),
        ({"x": ["a"]}, Reason.NOT_TEXT),
        ({"x": {"a": 1}}, Reason.NOT_TEXT),
        ({"x": b"a"}, Reason.NOT_TEXT),
        ({"x": "a\ud800"}, Reason.NOT_TEXT),
        ({"x": " \t\n"}, Reason.EMPTY_TEXT),
    ],
)
def test_a_record_without_text_is_unfit(values: dict[str, object], reason: Reason) -> None:
    with pytest.raises(Unfit) as caught:
        Template.parse("{x} is", "here").render(values)
    assert caught.value.reason == reason


def test_one_of_several_fields_may_be_blank() -> None:
    template = Template.parse("{title}: {body}", "here")
    assert template.render({"title": "", "body": "text"}) == ": text"
    with pytest.raises(Unfit, match="title, body"):
        template.render({"title": "", "body": " "})
