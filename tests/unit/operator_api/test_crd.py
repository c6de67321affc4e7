"""The generated CRD: committed, structural, cheap, and in step with the models and the runtime."""

import copy
from dataclasses import fields

import pytest
import yaml
from pydantic import BaseModel

from fakes import kube_schema
from fakes.cel_types import TypedRules
from fakes.kube import CRD, ROOT, SCHEMA
from zo_operator.api.crd import custom_resource_definition, to_yaml
from zo_operator.api.rules import LOG_IDENTITY, RULES
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.settings import Settings
from zo_runtime.config.document import CLUSTER_FIELDS, RunSpec
from zo_runtime.config.optimizer import Optimizer


def nodes(schema, path=""):
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}".lstrip("."))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


SPEC = dict(nodes(SCHEMA["properties"]["spec"], "spec"))
STATUS = dict(nodes(SCHEMA["properties"]["status"], "status"))


def test_the_committed_copy_is_the_generated_one():
    assert (ROOT / "crds" / "zofinetunes.yaml").read_text() == to_yaml()
    assert custom_resource_definition() == CRD


def test_it_is_structural():
    """No references, no unions but int-or-string, no closed maps, one type a node."""
    for path, node in (SPEC | STATUS).items():
        assert not {"$ref", "$defs", "oneOf", "allOf", "not", "const", "title", "definitions"} & set(node), path
        if "anyOf" in node:
            assert node["x-kubernetes-int-or-string"] is True, path
        else:
            assert node["type"] in ("object", "array", "string", "integer", "number", "boolean"), path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert node.get("exclusiveMinimum") in (None, True), path


def test_the_server_takes_its_defaults_and_bounds():
    """Both were refused once, by a real server alone."""
    assert kube_schema.refused_schema(SCHEMA) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "maximum": 2**63 - 1},
        {"type": "integer", "default": "1"},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}, "default": []}},
         "default": {}, "x-kubernetes-validations": [{"rule": "self.a.all(x, x != '')", "message": "m"}]},
    ],
)  # fmt: skip
def test_the_check_of_defaults_and_bounds_can_fail(schema):
    assert kube_schema.refused_schema({"type": "object", "properties": {"x": schema}}) != []


def test_everything_in_the_spec_has_a_largest_size():
    for path, node in SPEC.items():
        kind = node.get("type")
        if kind == "string" and "enum" not in node:
            assert node["maxLength"] <= 65536, path
        if kind == "array":
            assert node["maxItems"] <= 256, path
        if "additionalProperties" in node:
            assert node["maxProperties"] <= 1024, path


def test_every_field_is_explained():
    for path, node in (SPEC | STATUS).items():
        if not path.endswith(("[]", "{}")):
            assert node.get("description"), path


def test_defaults_are_valid_by_the_schema_itself():
    from fakes.kube_schema import validate, with_defaults

    for path, node in SPEC.items():
        if "default" in node:
            assert validate(with_defaults(copy.deepcopy(node["default"]), node), node, path) == []


def test_unknown_fields_are_kept_for_pod_objects_only():
    kept = {path for path, node in SPEC.items() if node.get("x-kubernetes-preserve-unknown-fields")}
    assert kept == {
        f"spec.runtime.{name}"
        for name in (
            "tolerations[]", "affinity", "topologySpreadConstraints[]", "env[]", "envFrom[]", "volumes[]",
            "volumeMounts[]", "podSecurityContext", "securityContext", "resources.claims[]",
        )
    }  # fmt: skip


def test_conditions_are_a_map_by_type():
    conditions = STATUS["status.conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert "type" in conditions["items"]["required"]


def test_columns_lead_to_fields():
    for column in CRD["spec"]["versions"][0]["additionalPrinterColumns"]:
        path = column["jsonPath"]
        if path.startswith(".status") and "[" not in path:
            assert path.lstrip(".") in STATUS, path
    shown = [
        column["name"]
        for column in CRD["spec"]["versions"][0]["additionalPrinterColumns"]
        if "priority" not in column
    ]
    assert shown == ["Phase", "Ready", "Step", "Progress", "Loss", "Version", "Age"]


def test_it_fits_into_an_annotation_of_kubectl_apply():
    assert len(yaml.safe_dump(CRD)) < 200_000


def test_the_operators_own_fields_are_those_that_the_runtime_sets_aside():
    own = {info.alias for name, info in ZOFineTuneSpec.model_fields.items() if name not in RunSpec.model_fields}
    assert own <= set(CLUSTER_FIELDS)
    # What later releases add.
    assert set(CLUSTER_FIELDS) - own == {"rollout"}


def test_every_field_of_the_method_is_bound_to_the_log():
    """The runtime compares the whole optimizer with the log's, so a new field of it must be bound as well."""
    fields_of_method = {f"optimizer.{info.alias}" for info in Optimizer.model_fields.values()}
    assert fields_of_method <= set(LOG_IDENTITY)
    assert set(LOG_IDENTITY) - fields_of_method == {
        "model.name", "model.revision", "model.dtype", "model.maxLength", "data.seed", "objective"
    }  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.message[:60])
def test_rules_name_what_they_are_about(rule):
    path = ".".join(part for part in ("spec", rule.at, rule.field) if part)
    assert path in SPEC, "a field path must lead to a field"
    assert path in rule.message or (rule.field or "") in rule.message


def test_rules_are_well_typed():
    """The API server knows the types of all fields and refuses a rule that mixes them; so does this check."""
    typed = TypedRules(SCHEMA["properties"]["spec"])
    for rule in RULES:
        assert typed.result_of(rule.at, rule.rule) == "BOOL", rule.rule


@pytest.mark.parametrize(
    "wrong", ["self.suspend == 1", "self.nothing == 'x'", "self.optimizer.steps > 0.5", "self.storage.uri + 1 == 2"]
)
def test_the_check_of_types_finds_mistakes(wrong):
    with pytest.raises(RuntimeError):
        TypedRules(SCHEMA["properties"]["spec"]).result_of("", wrong)


def test_models_are_immutable_and_closed():
    def models(model):
        yield model
        for info in model.model_fields.values():
            for part in (info.annotation, *getattr(info.annotation, "__args__", ())):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    yield from models(part)

    for model in models(ZOFineTuneSpec):
        assert model.model_config["frozen"], model
        assert model.model_config["extra"] == "forbid", model


def test_settings_are_all_explained():
    source = (ROOT / "operator" / "zo_operator" / "settings.py").read_text()
    for field in fields(Settings):
        following = source.split(f"\n    {field.name}:")[1].split("\n")[1]
        assert following.strip().startswith('"""'), field.name
