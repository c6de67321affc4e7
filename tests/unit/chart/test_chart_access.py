"""What the chart lets the operator and people do, and the CustomResourceDefinition of a release."""

import pytest
import yaml
from tools.chart import CHART, ROOT

from fixtures.chart import VARIANTS, Object, of_kind, only, render
from zo_operator.cluster.kinds import BY_KIND, EVENT, LEASE, WATCHED, KindInfo

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


# What the operator's code asks for, and why: see zo_operator/cluster and zo_operator/reconcile.
WATCH = {"list", "watch"}
NEEDED = {
    "ZOFineTune": WATCH | {"get"},
    "Job": WATCH | {"create", "patch", "delete"},
    "ConfigMap": WATCH | {"get", "create", "patch", "delete"},
    "Service": WATCH | {"create", "patch"},
    "Pod": WATCH,
    "Event": {"create"},
    "Lease": {"get", "create", "update"},
}


def granted(objects: list[Object], kind: KindInfo) -> set[str]:
    group = kind.api_version.rpartition("/")[0]
    users = ("admin", "editor", "viewer")
    own = [
        rule
        for name in ("Role", "ClusterRole")
        for item in of_kind(objects, name)
        if not item["metadata"]["name"].endswith(users)
        for rule in item["rules"]
    ]
    return {
        verb
        for rule in own
        if (rule["apiGroups"], kind.plural in rule["resources"]) == ([group], True)
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_the_operator_may_do_what_it_does_and_no_more(scope):
    objects = render({"rbac": {"scope": scope}})
    assert NEEDED.keys() == BY_KIND.keys()
    assert {name: granted(objects, kind) for name, kind in BY_KIND.items()} == NEEDED
    assert {kind.kind for kind in WATCHED} == {name for name, verbs in NEEDED.items() if verbs >= WATCH}
    assert not NEEDED[EVENT.kind] & WATCH
    status = [
        rule for rule in rules(objects) if rule["resources"] == ["zofinetunes/status"] and "get" not in rule["verbs"]
    ]
    assert [rule["verbs"] for rule in status] == [["patch"]]
    resources = {resource for rule in rules(objects) for resource in rule["resources"]}
    assert resources == {kind.plural for kind in BY_KIND.values()} | {"zofinetunes/status"}


SECRETS = [
    {"name": "keys"},
    {"name": "vllm", "namespace": "team-b"},
    {"name": "other", "namespace": "team-b"},
    {"name": "vllm", "namespace": "team-b"},
]


def of_secrets(*names: str) -> list[dict]:
    return [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": list(names), "verbs": ["get"]}]


@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_it_reads_exactly_the_secrets_that_are_listed(scope):
    objects = render({"rbac": {"scope": scope, "apiKeySecrets": SECRETS}})
    roles = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item["rules"]
        for item in of_kind(objects, "Role")
        if any("secrets" in rule["resources"] for rule in item["rules"])
    }
    assert {namespace: found for (namespace, _), found in roles.items()} == {
        "team-a": of_secrets("keys"),
        "team-b": of_secrets("other", "vllm"),
    }
    bound = {(item["metadata"]["namespace"], item["roleRef"]["name"]) for item in of_kind(objects, "RoleBinding")}
    assert roles.keys() <= bound
    assert not any(
        "secrets" in rule["resources"] for item in of_kind(objects, "ClusterRole") for rule in item["rules"]
    )


def test_the_lease_is_the_one_that_the_operator_is_told():
    objects = render()
    (rule,) = (rule for rule in rules(objects) if LEASE.plural in rule["resources"] and "resourceNames" in rule)
    environment = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [item["value"] for item in environment if item["name"] == "ZO_OPERATOR_LEASE_NAME"] == rule[
        "resourceNames"
    ]


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


# What Kubernetes' own role `admin` allows in a namespace, of what the chart's roles give.
ADMIN = {
    ("batch", "jobs"),
    ("", "configmaps"),
    ("", "services"),
    ("", "pods"),
    ("", "events"),
    ("coordination.k8s.io", "leases"),
}


def test_an_administrator_of_the_namespace_holds_every_right_that_the_chart_hands_out():
    manifest = yaml.safe_load((CHART / "files" / "namespace-admins.yaml").read_text())
    assert manifest["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"] == "true"

    def triples(found):
        return {
            (group, what, verb)
            for rule in found
            for group in rule["apiGroups"]
            for what in rule["resources"]
            for verb in rule["verbs"]
        }

    given = triples(rules(render({"rbac": {"scope": "namespace"}})))
    others = {right for right in given if right[:2] not in ADMIN}
    assert others == triples(manifest["rules"])


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
