"""A manifest is read whole or refused with one sentence a problem: path, value, remedy."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zo_runtime.config.document import CLUSTER_FIELDS
from zo_runtime.config.load import MAX_BYTES, load_document, parse_document
from zo_runtime.errors import InvalidSpec

VALID: dict[str, Any] = {
    "apiVersion": "zofinetune.io/v1alpha1",
    "kind": "ZOFineTune",
    "metadata": {"name": "demo", "namespace": "ml", "labels": {"team": "search"}},
    "spec": {
        "model": {"name": "models/tiny", "dtype": "bfloat16", "trustRemoteCode": False},
        "data": {
            "train": {"uri": "train.csv", "format": "csv", "columns": ["text", "label"]},
            "heldOut": {"examples": 200},
            "seed": 7,
        },
        "objective": {
            "classification": {"prompt": "{text} It was", "labels": {"0": " terrible", "1": " great"}},
        },
        "optimizer": {"steps": 400, "learningRate": 0.001, "momentum": {"beta": 0.9}, "targetModules": ["q_proj"]},
        "evaluation": {"every": 100, "earlyStopping": {"patience": 3}},
        "storage": {"uri": "out", "s3": {"region": "eu-central-1"}, "flush": {"everySteps": 10}},
        "metrics": {"port": 0},
    },
}


def parse(content: object) -> list[str]:
    """The lines of the refusal; no lines when the content is accepted."""
    try:
        parse_document(yaml.safe_dump(content), "run.yaml")
    except InvalidSpec as error:
        return str(error).splitlines()
    return []


def with_value(path: str, value: object) -> dict[str, Any]:
    content = copy.deepcopy(VALID)
    *parents, name = path.split(".")
    target = content
    for parent in parents:
        target = target[parent]
    target[name] = value
    return content


def test_a_valid_manifest_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("# a comment\n" + yaml.safe_dump(VALID) + "\n---\n")
    document, notices = load_document(file)
    assert notices == []
    assert document.metadata.name == "demo"
    assert document.spec.optimizer.learning_rate == 0.001
    assert document.spec.objective.classification is not None
    assert document.spec.objective.classification.labels == {"0": " terrible", "1": " great"}


def test_numbers_with_exponents_and_bare_digit_keys_need_no_quotes() -> None:
    text = yaml.safe_dump(VALID).replace("0.001", "1e-3").replace("'0'", "0").replace("'1'", "1")
    assert "1e-3" in text
    document, _ = parse_document(text, "run.yaml")
    assert document == parse_document(yaml.safe_dump(VALID), "run.yaml")[0]


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("spec.optimizer.rank", 0, "spec.optimizer.rank: 0 is not allowed: must be at least 1"),
        ("spec.optimizer.epsilon", 0, "spec.optimizer.epsilon: 0 is not allowed: must be above 0"),
        ("spec.optimizer.rank", 999, "spec.optimizer.rank: 999 is not allowed: must be at most 256"),
        (
            "spec.optimizer.momentum.beta",
            1,
            "spec.optimizer.momentum.beta: 1 is not allowed: must be below 1",
        ),
        (
            "spec.optimizer.steps",
            "100",
            'spec.optimizer.steps: "100" is not allowed: must be a whole number, without quotes',
        ),
        ("spec.optimizer.steps", True, "spec.optimizer.steps: true is not allowed: must be a whole number"),
        ("spec.optimizer.steps", 1.5, "spec.optimizer.steps: 1.5 is not allowed: must be a whole number"),
        (
            "spec.optimizer.clip",
            float("inf"),
            "spec.optimizer.clip: Infinity is not allowed: must be a finite number",
        ),
        (
            "spec.optimizer.schedule",
            "cosin",
            'spec.optimizer.schedule: "cosin" is not allowed: must be constant or cosine',
        ),
        (
            "spec.optimizer.targetModules",
            [],
            "spec.optimizer.targetModules: an empty list is not allowed: must have 1 or more entries",
        ),
        (
            "spec.objective.classification.labels.0",
            False,
            "spec.objective.classification.labels.0: false is not allowed: must be text: put it in quotes",
        ),
        (
            "spec.data.train.columns",
            ["a", 3],
            "spec.data.train.columns[1]: 3 is not allowed: must be text: put it in quotes",
        ),
        ("spec.data", None, "spec.data: nothing is not allowed: must be a mapping with fields"),
        ("spec.storage.uri", "", 'spec.storage.uri: "" is not allowed: must have 1 or more characters'),
        (
            "spec.objective.completion",
            {"prompt": "a", "completion": "b"},
            "spec.objective: give exactly one of `classification` and `completion`",
        ),
        ("kind", "Job", 'kind: "Job" is not allowed: must be ZOFineTune'),
        ("apiVersion", "v1", 'apiVersion: "v1" is not allowed: must be zofinetune.io/v1alpha1'),
        ("spec.optimizer.batch_size", 4, "spec.optimizer.batch_size: unknown field: did you mean batchSize?"),
        ("spec.optimizer.learningRte", 4, "spec.optimizer.learningRte: unknown field: did you mean learningRate?"),
        ("spec.rank", 4, "spec.rank: unknown field: did you mean spec.optimizer.rank?"),
        (
            "spec.storage.flush.whenever",
            4,
            "spec.storage.flush.whenever: unknown field: the fields here are everySteps, everySeconds",
        ),
        ('spec.storage.a "b"', {}, 'spec.storage["a \\"b\\""]: unknown field: the fields here are uri, s3, flush'),
    ],
)
def test_one_problem_is_one_sentence(path: str, value: object, line: str) -> None:
    assert parse(with_value(path, value)) == [line]


def test_a_missing_field_says_what_it_is() -> None:
    content = copy.deepcopy(VALID)
    del content["spec"]["optimizer"]["steps"]
    del content["kind"]
    assert parse(content) == [
        "kind: missing: set it to ZOFineTune",
        "spec.optimizer.steps: missing: give an integer (Number of updates in one run)",
    ]


def test_long_values_are_cut() -> None:
    (line,) = parse(with_value("spec.optimizer.schedule", "x" * 5000))
    assert len(line) < 150


def test_a_lone_surrogate_can_be_printed() -> None:
    with pytest.raises(InvalidSpec) as error:
        parse_document(yaml.safe_dump(VALID).replace("name: demo", 'name: "\\ud800"'), "run.yaml")
    str(error.value).encode("utf-8")


def test_at_most_ten_problems_are_listed() -> None:
    content = copy.deepcopy(VALID)
    content["spec"]["optimizer"].update({f"x{n}": 1 for n in range(12)})
    lines = parse(content)
    assert len(lines) == 11
    assert lines[-1] == "and 2 more problems"


def test_cluster_only_parts_are_ignored_with_a_line_each() -> None:
    content = copy.deepcopy(VALID)
    content["spec"].update({name: {"anything": 1} for name in CLUSTER_FIELDS})
    content["spec"]["model"]["persistentVolumeClaim"] = {"claimName": "models"}
    content["spec"]["storage"]["s3"].update(secretRef="keys", caSecretRef=None)
    document, notices = parse_document(yaml.safe_dump(content), "run.yaml")
    assert document.spec.storage.s3.secret_ref == "keys"
    but = {"runtime": ", but for tensorParallelSize"}
    assert notices == [f"spec.{name}: ignored outside a cluster{but.get(name, '')}" for name in CLUSTER_FIELDS] + [
        "spec.model.persistentVolumeClaim: ignored outside a cluster: spec.model.name is looked up on this machine",
        "spec.storage.s3.secretRef: ignored outside a cluster: credentials come from the environment",
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "run.yaml: the file is empty"),
        ("---\n# nothing\n", "run.yaml: the file is empty"),
        ("- a\n", "run.yaml: this is a list, not a manifest"),
        ("hello", "run.yaml: this is a single value, not a manifest"),
        ("{a: b", "run.yaml: this is not a YAML manifest: line 1"),
        (
            yaml.safe_dump(VALID) + "---\nkind: ConfigMap\n---\n3",
            "holds 3 documents (ZOFineTune, ConfigMap, one without a kind): keep exactly one ZOFineTune",
        ),
        (yaml.safe_dump(VALID) * 2, "stands twice in one mapping"),
    ],
)
def test_a_text_that_is_no_manifest_is_one_sentence(text: str, part: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        parse_document(text, "run.yaml")
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("größe".encode("latin-1"))
    (tmp_path / "huge").write_bytes(b"#" * (MAX_BYTES + 1))
    for name, part in {
        "missing": "there is no such file",
        ".": "this is a folder",
        "latin": "not text in UTF-8",
        "huge": "larger than",
        "x" * 300: "the file cannot be read: File name too long",
    }.items():
        with pytest.raises(InvalidSpec, match=part):
            load_document(tmp_path / name)


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    children: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from places(child, (*path, name))


ODD = st.sampled_from(
    [None, True, 0, -1, 1.5, float("nan"), float("inf"), 2**63, "", "\ud800", "é" * 99, [], {}, [None], {"a": {}}]
) | st.text(max_size=5)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(list(places(VALID))[1:]), st.sampled_from(["replace", "delete", "add"]), ODD, st.text(max_size=8)
)
def test_any_mutation_is_valid_or_refused_by_its_path(
    place: tuple[str | int, ...], how: str, odd: object, name: str
) -> None:
    content = copy.deepcopy(VALID)
    parent: Any = content
    for part in place[:-1]:
        parent = parent[part]
    if how == "delete":
        del parent[place[-1]]
    elif how == "add" and isinstance(parent[place[-1]], dict):
        parent[place[-1]][name] = odd
        place = (*place, name)
    else:
        parent[place[-1]] = odd
    try:
        text = yaml.safe_dump(content)
        parse_document(text, "run.yaml")
    except InvalidSpec as error:
        assert _names(str(error), place)


def _names(message: str, place: tuple[str | int, ...]) -> bool:
    """Whether a message names the place itself or, for a rule over several fields, the field that holds them."""
    if "that YAML does not allow" in message:  # a character no YAML can hold: refused before there are paths
        return True
    named = [part for part in place if isinstance(part, str)]
    known = [part for part in named if part.isascii() and part.replace("-", "").isalnum()]
    return any(".".join(known[: len(known) - up]) in message for up in (0, 1) if len(known) > up)
