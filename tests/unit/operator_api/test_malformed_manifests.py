"""Malformed manifests, made by changing one field of a full one: each is refused with the field's name."""

import copy
import itertools

import pytest
import yaml

from fakes import kube_schema
from fakes.kube import ROOT, SCHEMA, Refusal, admit_resource
from fixtures.malformed import CASES, EMPTY, FIELDS, FULL, OTHER_VALUES, REMOVED, changed, dotted, written
from zo_operator.api.rules import LOG_IDENTITY, RULES


def refusal(body, old=None):
    """What the API server answers, or none when it takes the manifest."""
    try:
        _, wrong = admit_resource(copy.deepcopy(body), old, strict=True)
    except Refusal as refused:
        return refused.message
    return ", ".join(wrong) or None


def test_the_full_manifest_is_taken():
    assert refusal(FULL) is None


def test_the_full_manifest_names_every_field():
    def leaves(schema, path):
        for name, below in schema.get("properties", {}).items():
            yield (*path, name)
            yield from leaves(below.get("items", below), (*path, name))

    named = {tuple(part for part in path if not isinstance(part, int)) for path, _ in FIELDS}
    left_out = set(leaves(SCHEMA["properties"]["spec"], ("spec",))) - named
    alternatives = {
        ("spec", "storage", "s3", "caFile"),
        ("spec", "runtime", "cacheVolume", "sizeLimit"),
        ("spec", "runtime", "resources", "claims"),
        ("spec", "data", "train", "persistentVolumeClaim"),
        ("spec", "data", "evaluation", "columns"),
    }
    prefixes = (("spec", "objective", "completion"), ("spec", "data", "evaluation", "persistentVolumeClaim"))
    assert {path for path in left_out - alternatives if not any(path[: len(p)] == p for p in prefixes)} == set()


def test_there_are_enough():
    assert len(CASES) >= 300


def test_every_malformed_manifest_is_refused_with_its_field():
    # A default fills what is given as nothing, and a number may be written for a text's missing neighbour.
    defaulted = {written(path) for path, _ in EMPTY if refusal(changed(path, None)) is None}
    missed = []
    for field, body in CASES:
        message = refusal(body)
        if message is None and field in defaulted:
            continue
        if message is None or field not in message:
            missed.append((field, message))
    assert missed == []
    assert len(CASES) - len(defaulted) >= 280


@pytest.mark.parametrize("field", LOG_IDENTITY)
def test_what_a_log_is_bound_to_changes_with_its_uri_only(field):
    body = changed(dotted(field), OTHER_VALUES[field])
    assert f"spec.{field}" in refusal(body, FULL)
    assert "choose another storage.uri" in refusal(body, FULL)
    body["spec"]["storage"]["uri"] = "s3://logs/another"
    assert refusal(body, FULL) is None


@pytest.mark.parametrize("field", ["model.revision", "optimizer.clip", "optimizer.momentum"])
def test_an_optional_part_of_the_identity_cannot_come_or_go(field):
    without = changed(dotted(field), REMOVED)
    assert f"spec.{field}" in refusal(without, FULL)
    assert f"spec.{field}" in refusal(FULL, without)


def test_the_queue_changes_only_while_suspended():
    body = changed(dotted("queueName"), "other")
    assert "spec.queueName" in refusal(body, FULL)
    assert "spec.queueName" in refusal(changed(dotted("queueName"), REMOVED), FULL)
    assert refusal(body, changed(dotted("suspend"), True)) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.persistentVolumeClaim", {"claimName": "others"}), ("data.train.uri", "fresh"),
        ("data.maxExamples", 10),
        ("suspend", True), ("runtime.nodeSelector", {"a": "b"}), ("backoffLimit", 9), ("ttlSecondsAfterFinished", 1),
        ("evaluation.every", 10), ("gate.minGain", 0.5), ("gate.regression", REMOVED),
        ("storage.flush.everySteps", 5), ("deletionPolicy", "Retain"), ("metrics.port", 0),
    ],
)  # fmt: skip
def test_everything_else_may_change(path, value):
    assert refusal(changed(dotted(path), value), FULL) is None


def test_every_rule_is_broken_by_some_case():
    """A rule that no manifest here breaks is a rule that nobody tested."""
    told = set()
    pairs = [(body, None) for _, body in CASES]
    pairs += [(changed(dotted(field), OTHER_VALUES[field]), FULL) for field in LOG_IDENTITY]
    pairs.append((changed(dotted("queueName"), "other"), FULL))
    for body, old in pairs:
        if (message := refusal(body, old)) is not None:
            told |= {rule.message for rule in RULES if rule.message in message}
    assert told == {rule.message for rule in RULES}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_taken(path):
    for body in yaml.safe_load_all(path.read_text()):
        if body and body["kind"] == "ZOFineTune":
            body["metadata"].setdefault("namespace", "default")
            assert refusal(body) is None


def test_unknown_fields_are_dropped_without_strict_validation():
    body = changed(("spec", "model", "unknwon"), 1)
    stored, wrong = admit_resource(copy.deepcopy(body), None, strict=False)
    assert wrong == []
    assert "unknwon" not in stored["spec"]["model"]


def test_defaults_are_filled_in_depth():
    minimal = {key: FULL["spec"][key] for key in ("model", "data", "objective", "storage")}
    body = {**FULL, "spec": {**minimal, "optimizer": {"steps": 5}}}
    spec = admit_resource(copy.deepcopy(body), None, strict=True)[0]["spec"]
    assert spec["optimizer"]["rank"] == 2
    assert spec["runtime"]["cacheVolume"] == {}
    assert spec["runtime"]["workers"] == 1
    assert spec["evaluation"]["every"] == 500
    assert spec["backoffLimit"] == 6
    assert kube_schema.validate(spec, SCHEMA["properties"]["spec"], "spec") == []
    assert list(itertools.islice(kube_schema.unknown_fields(spec, SCHEMA["properties"]["spec"]), 1)) == []
