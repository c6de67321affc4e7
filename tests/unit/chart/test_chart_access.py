"""What the chart lets the operator and people do, and the CustomResourceDefinition of a release."""

import pytest
import yaml
from tools.chart import ROOT

from fixtures.chart import VARIANTS, Object, of_kind, only, render

every_variant = pytest.mark.parametrize("variant", VARIANTS)
CRDS = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")}


def rules(objects: list[Object]) -> list[dict]:
    return [rule for kind in ("Role", "ClusterRole") for item in of_kind(objects, kind) for rule in item["rules"]]


@every_variant
def test_no_rule_has_a_wildcard_or_reads_secrets(variant):
    for rule in rules(render(VARIANTS[variant])):
        for part in ("apiGroups", "resources", "verbs"):
            assert "*" not in rule[part]
        assert not {"secrets", "pods/exec", "pods/portforward"} & set(rule["resources"])


@every_variant
def test_bindings_bind_rendered_roles_to_the_operators_account(variant):
    objects = render(VARIANTS[variant])
    account = only(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    roles = {(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects}
    for binding in of_kind(objects, "RoleBinding") + of_kind(objects, "ClusterRoleBinding"):
        assert (binding["roleRef"]["kind"], binding["metadata"].get("namespace"), binding["roleRef"]["name"]) in roles
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "team-a"}]
    created = {item["metadata"]["name"] for item in of_kind(objects, "ServiceAccount")}
    assert created in (set(), {account})


def test_namespace_scope_has_no_cluster_wide_object_but_the_crd():
    objects = render({"rbac": {"scope": "namespace"}})
    assert {item["kind"] for item in objects if "namespace" not in item["metadata"]} == {"CustomResourceDefinition"}
    without = render({"rbac": {"scope": "namespace"}, "crds": {"enabled": False}})
    assert all(item["metadata"]["namespace"] == "team-a" for item in without)


def test_namespace_scope_grants_in_the_watched_namespaces_alone():
    objects = render({"rbac": {"scope": "namespace", "namespaces": ["team-c", "team-b"]}})
    grants = {
        item["metadata"]["namespace"]
        for item in of_kind(objects, "RoleBinding")
        if "lease" not in item["metadata"]["name"]
    }
    assert grants == {"team-b", "team-c"}
    lease = [item for item in of_kind(objects, "Role") if "lease" in item["metadata"]["name"]]
    assert [item["metadata"]["namespace"] for item in lease] == ["team-a"]


def test_users_get_roles_that_aggregate():
    found = {}
    for item in of_kind(render(), "ClusterRole"):
        for label in item["metadata"]["labels"]:
            if label.startswith("rbac.authorization.k8s.io/aggregate-to-"):
                found[label.rsplit("-", 1)[1]] = set(item["rules"][0]["verbs"])
    assert found["view"] == {"get", "list", "watch"}
    assert found["edit"] == found["view"] | {"create", "update", "patch", "delete"}
    assert found["admin"] == found["edit"] | {"deletecollection"}


def test_switched_off_objects_are_gone():
    kinds = {
        item["kind"]
        for item in render({"rbac": {"create": False, "userRoles": False}, "serviceAccount": {"create": False}})
    }
    assert not kinds & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ServiceAccount"}


@every_variant
def test_crds_are_those_of_the_project(variant):
    rendered = of_kind(render(VARIANTS[variant]), "CustomResourceDefinition")
    wanted = VARIANTS[variant].get("crds", {})
    if not wanted.get("enabled", True):
        assert rendered == []
        return
    assert CRDS
    assert {item["metadata"]["name"]: item["spec"] for item in rendered} == {
        crd["metadata"]["name"]: crd["spec"] for crd in CRDS.values()
    }
    for item in rendered:
        annotations = item["metadata"].get("annotations", {})
        assert (annotations.get("helm.sh/resource-policy") == "keep") == wanted.get("keep", True)
        assert annotations.items() >= wanted.get("annotations", {}).items()
