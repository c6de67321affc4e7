"""Rendered objects against the Kubernetes API schemas, and values against the chart's own schema."""

import json
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from fixtures.chart import CHART, EVERYTHING, NAMED, VARIANTS, Object, helm, merged, only, refusal, render
from fixtures.openapi import KUBERNETES_VERSIONS, check

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
# Parts of the values that are handed to Kubernetes as they are; its own schema checks them after the render.
FREE = {"resources", "podSecurityContext", "securityContext", "affinity", "global"}


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_objects_fit_the_kubernetes_api(variant, version):
    objects = render(VARIANTS[variant])
    assert len(objects) >= 2
    for item in objects:
        check(item, version)


def test_the_check_of_kubernetes_objects_can_fail():
    deployment = only(render(), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["comand"] = ["x"]
    with pytest.raises(kubernetes_validate.ValidationError, match="comand"):
        check(deployment, "1.31")


def test_the_check_of_monitors_can_fail():
    monitor = only(render(EVERYTHING), "ServiceMonitor")
    monitor["spec"]["endpoints"][0]["intervall"] = "30s"
    with pytest.raises(AssertionError, match="intervall"):
        check(monitor, "1.31")


def test_the_oldest_checked_version_is_the_oldest_that_the_chart_takes():
    oldest = KUBERNETES_VERSIONS[0]
    assert helm("template", "x", str(CHART), "--kube-version", f"{oldest}.0").returncode == 0
    assert f"Kubernetes {oldest} or later" in (CHART / "templates" / "requirements.yaml").read_text()


@pytest.mark.parametrize("variant", NAMED)
def test_helm_lint_is_clean(variant, tmp_path):
    values = tmp_path / "values.json"
    values.write_text(json.dumps(VARIANTS[variant]))
    done = helm("lint", "--strict", str(CHART), "--values", str(values))
    assert done.returncode == 0, done.stdout
    assert "[ERROR]" not in done.stdout and "[WARNING]" not in done.stdout


def closed_objects(schema: dict[str, Any], path: str = "") -> list[str]:
    """Paths of the schema's objects that list their properties, which must refuse all others."""
    found = []
    for name, part in schema.get("properties", {}).items():
        found += closed_objects(resolve(part), f"{path}{name}.")
    if "properties" in schema and "required" not in schema:
        assert schema["additionalProperties"] is False, path
    return [*found, path] if "properties" in schema else found


def resolve(part: dict[str, Any]) -> dict[str, Any]:
    return SCHEMA["definitions"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part


def leaves(schema: dict[str, Any], path: str = "") -> set[str]:
    names = set()
    for name, part in schema.get("properties", {}).items():
        inner = resolve(part)
        names |= leaves(inner, f"{path}{name}.") if "properties" in inner else {path + name}
    return names


def test_schema_and_values_know_the_same_keys():
    def known(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> set[str]:
        names = set()
        for name, value in values.items():
            inner = resolve(schema["properties"][name])
            names |= known(value, inner, f"{path}{name}.") if "properties" in inner else {path + name}
        return names

    assert known(VALUES, SCHEMA) == leaves(SCHEMA) - {"global"}


def test_defaults_and_variants_fit_the_schema():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    for values in (VALUES, *VARIANTS.values()):
        jsonschema.validate(merged(VALUES, values), SCHEMA)


def test_unknown_keys_are_refused_at_every_level():
    for path in closed_objects(SCHEMA):
        values = merged(VALUES)
        inner = values
        for name in path.split(".")[:-1]:
            inner = inner.setdefault(name, {})
        inner["bogus"] = 1
        with pytest.raises(jsonschema.ValidationError, match="bogus"):
            jsonschema.validate(values, SCHEMA)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replica": 1}, "'replica' not allowed"),
        ({"rbac": {"scope": "global"}}, "'cluster', 'namespace'"),
        ({"image": {"tag": "a b"}}, "/image/tag"),
        ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
        ({"image": {"repository": ""}}, "/image/repository"),
        ({"crds": {"keep": "yes"}}, "/crds/keep"),
        ({"env": [{"value": "x"}]}, "/env/0"),
        ({"commonLabels": {"a": "not a label!"}}, "/commonLabels/a"),
        ({"metrics": {"port": 70000}}, "/metrics/port"),
        ({"metrics": {"serviceMonitor": {"interval": "often"}}}, "/metrics/serviceMonitor/interval"),
        ({"podDisruptionBudget": {"maxUnavailable": "half"}}, "/podDisruptionBudget/maxUnavailable"),
        ({"networkPolicy": {"apiServerPorts": []}}, "/networkPolicy/apiServerPorts"),
    ],
)
def test_wrong_values_are_refused_with_their_path(values, words):
    assert words in refusal(values)


def test_an_old_cluster_is_refused():
    done = helm("template", "x", str(CHART), "--kube-version", "1.30.9")
    assert done.returncode != 0
    assert "needs Kubernetes 1.31 or later, and this cluster has 1.30" in done.stderr


def operator_image(objects: list[Object]) -> str:
    return only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"]


def test_image_digest_wins_over_the_tag():
    assert operator_image(render()) == "zofinetune/operator:0.1.0"
    pinned = render({"image": {"repository": "r:5000/op", "tag": "1", "digest": "sha256:" + "a" * 64}})
    assert operator_image(pinned) == f"r:5000/op@sha256:{'a' * 64}"
