"""YAML is read as a Kubernetes client reads it, and what is not plain data is refused with its line."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.config.yaml_nodes import YAMLProblem, read_documents

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("1e3", 1000),
        ("2.0", 2),
        (".5", 0.5),
        ("0x10", 16),
        ("-0o17", -15),
        ("010", 8),
        ("+5", 5),
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("12:30", "12:30"),
        ("2025-01-01", "2025-01-01"),
        ("09", "09"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!int '3'", 3),
        ("-.inf", float("-inf")),
    ],
)
def test_scalars_read_as_a_kubernetes_client_reads_them(text: str, expected: object) -> None:
    value = read_documents(f"a: {text}")[0]["a"]  # type: ignore[index]
    assert (value, type(value)) == (expected, type(expected))


class Quoting(yaml.SafeDumper):
    """Writes every text in double quotes: PyYAML leaves some bare that are numbers to us, as 0E0."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@given(JSON_VALUES)
def test_json_written_on_one_line_comes_back_as_it_was(value: object) -> None:
    # JSON is YAML but for surrogate pairs in escapes, so PyYAML writes the text.
    text = yaml.dump(value, Dumper=Quoting, default_flow_style=True)
    assert _comparable(read_documents(text)) == _comparable([value])


def _comparable(value: object) -> str:
    """Integral floats and integers are one number in JSON."""
    return json.dumps(json.loads(json.dumps(value), parse_float=_number), sort_keys=True)


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", "line 4: the key c stands twice"),
        ("0: x\n'0': y", "line 2: the key 0 stands twice"),
        ("yes: 1", "the key yes is not text in YAML: put it in quotes"),
        ("0x1: 1", "the key 0x1 is not text"),
        ("~: 1", "the key ~ is not text"),
        ("? [1]\n: 2", "a key must be text"),
        ("a: &x [*x]", "line 1: the alias contains itself"),
        ("<<: 3", "`<<` takes a mapping"),
        ("a: !!python/object:os.system x", "leave it out"),
        ("a: !!binary aGk=", "leave it out"),
        ("a: !!int ''", "does not fit this value"),
        ("a: !!bool x", "does not fit this value"),
        ("a: !!set {x}", "not allowed: leave it out"),
        ('a: "\\U00110000"', "a character that YAML does not allow"),
        ("a: \0", "a character that YAML does not allow"),
        ("[" * 2000, "nested too deeply"),
        ("a: " + "9" * 5000, "a number of 5000 digits is too long"),
        ("a: 99999999999999999999", "numbers have at most 64 bits"),
        ("a:\n\t- b", "line 2, column 1"),
        ("{a: b", "expected ',' or '}'"),
    ],
)
def test_refusals_are_one_sentence(text: str, part: str) -> None:
    with pytest.raises(YAMLProblem) as problem:
        read_documents(text)
    assert part in str(problem.value)
    assert "\n" not in str(problem.value)


def test_merge_keys_and_aliases_work_and_own_keys_win() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}"
    assert read_documents(text)[0]["c"] == {"x": 1, "y": 1, "z": 3}  # type: ignore[index]


def test_an_alias_bomb_stays_small() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    value = read_documents("\n".join(lines))[0]
    assert isinstance(value, dict)
    assert value["a39"][0] is value["a39"][8]


def test_documents_are_kept_apart_and_empty_ones_count() -> None:
    assert read_documents("---\n---\na: 1\n---\n[]\n") == [None, {"a": 1}, []]
    assert read_documents("# nothing") == []


@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{}&*!|>'\"\n\t #,%?0e.<~\\", max_size=60))
def test_any_text_is_values_or_a_problem(text: str) -> None:
    try:
        documents = read_documents(text)
    except YAMLProblem:
        return
    json.dumps(documents)
