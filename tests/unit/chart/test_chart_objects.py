"""Properties of every object that the chart renders, under every variant of its values."""

import json
import re

import pytest
import yaml

from fixtures.chart import (
    EVERYTHING,
    NAMED,
    RELEASE,
    SWITCHES,
    VARIANTS,
    Object,
    fresh_template,
    merged,
    of_kind,
    only,
    pairwise,
    render,
    template,
)

CLUSTER_KINDS = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
USERS_OWN = ("extra-map", "tuning-text")
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def chart_objects(variant: str) -> list[Object]:
    return [
        item for item in render(VARIANTS[variant]) if item["metadata"]["name"] not in ("extra-map", "tuning-text")
    ]


def pod(objects: list[Object]) -> Object:
    return only(objects, "Deployment")["spec"]["template"]["spec"]


def container(objects: list[Object]) -> Object:
    (found,) = pod(objects)["containers"]
    return found


def identities(objects: list[Object]) -> list[tuple[str, str, str]]:
    return [(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in objects]


def test_the_pairwise_variants_meet_every_pair_of_switches():
    rows = pairwise()
    assert len(rows) == 20
    for first in range(len(SWITCHES)):
        for second in range(first):
            for a in SWITCHES[first]:
                for b in SWITCHES[second]:
                    both = merged(a, b)
                    assert any(merged(row, both) == row for row in rows), both


@every_variant
def test_every_object_has_the_standard_labels(variant):
    for item in chart_objects(variant):
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == RELEASE
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/part-of"] == "zofinetune"
        assert {"app.kubernetes.io/name", "app.kubernetes.io/version", "helm.sh/chart"} <= labels.keys()
        assert all(isinstance(value, str) for value in labels.values())


@every_variant
def test_namespaced_objects_say_their_namespace_and_cluster_objects_have_none(variant):
    for item in chart_objects(variant):
        assert ("namespace" in item["metadata"]) == (item["kind"] not in CLUSTER_KINDS), item["kind"]


@every_variant
def test_common_labels_and_annotations_reach_every_object_and_the_pods(variant):
    objects = chart_objects(variant)
    labels = {key: text for key, text in VARIANTS[variant].get("commonLabels", {}).items() if key == "team"}
    template_metadata = only(objects, "Deployment")["spec"]["template"]["metadata"]
    for metadata in [*(item["metadata"] for item in objects), template_metadata]:
        assert metadata["labels"].items() >= labels.items()
        assert metadata["labels"]["app.kubernetes.io/name"] != "not-this"
        assert metadata.get("annotations", {}).items() >= VARIANTS[variant].get("commonAnnotations", {}).items()


@every_variant
def test_containers_are_confined_and_state_their_command(variant):
    objects = chart_objects(variant)
    security = container(objects)["securityContext"]
    assert container(objects)["command"] == ["zo-operator"]
    assert "args" not in container(objects)
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod(objects)["securityContext"]["runAsNonRoot"] is True
    assert pod(objects)["securityContext"]["runAsUser"] > 0
    assert pod(objects)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


@every_variant
def test_lists_with_keys_have_no_duplicates(variant):
    objects = chart_objects(variant)
    for items, key in (
        (container(objects)["env"], "name"),
        (container(objects)["ports"], "containerPort"),
        (container(objects).get("volumeMounts", []), "mountPath"),
        (pod(objects).get("volumes", []), "name"),
    ):
        keys = [item[key] for item in items]
        assert sorted(set(keys)) == sorted(keys)
    volumes = {volume["name"] for volume in pod(objects).get("volumes", [])}
    assert {mount["name"] for mount in container(objects).get("volumeMounts", [])} <= volumes


def test_a_variable_of_the_user_replaces_the_charts():
    own = [{"name": "ZO_OPERATOR_LOG_LEVEL", "value": "error"}, {"name": "ZO_OPERATOR_WORKERS", "value": "2"}]
    plain, changed = container(render())["env"], container(render({"env": own}))["env"]
    assert [item for item in changed if item in own] == own
    assert {item["name"] for item in changed} == {item["name"] for item in plain} | {"ZO_OPERATOR_WORKERS"}
    assert len(changed) == len(plain) + 1


@every_variant
def test_no_object_is_rendered_twice(variant):
    names = identities(render(VARIANTS[variant]))
    assert sorted(set(names)) == sorted(names)


@every_variant
def test_no_yaml_map_has_a_key_twice(variant):
    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader, node, deep=False):
        keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
        assert len(set(keys)) == len(keys), keys
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    without_crds = merged(VARIANTS[variant], {"crds": {"enabled": False}})
    assert list(yaml.load_all(template(without_crds), Loader=Strict))


@every_variant
def test_selectors_find_the_operator_pods(variant):
    objects = chart_objects(variant)
    deployment = only(objects, "Deployment")
    pod_labels = deployment["spec"]["template"]["metadata"]["labels"]
    service = only(objects, "Service")
    selectors = [deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]]
    selectors += [item["spec"]["selector"]["matchLabels"] for item in of_kind(objects, "PodDisruptionBudget")]
    selectors += [item["spec"]["podSelector"]["matchLabels"] for item in of_kind(objects, "NetworkPolicy")]
    for selector in selectors:
        assert selector and selector.items() <= pod_labels.items()
    for monitor in of_kind(objects, "ServiceMonitor"):
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    for constraint in pod(objects).get("topologySpreadConstraints", []):
        assert constraint["labelSelector"]["matchLabels"].items() <= pod_labels.items()


@every_variant
def test_probes_and_services_name_ports_of_the_container(variant):
    objects = chart_objects(variant)
    ports = {port["name"] for port in container(objects)["ports"]}
    assert {container(objects)[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} <= ports
    assert only(objects, "Service")["spec"]["ports"][0]["targetPort"] in ports


@pytest.mark.parametrize("variant", NAMED)
def test_two_renders_are_the_same(variant):
    assert fresh_template(json.dumps(VARIANTS[variant])) == template(VARIANTS[variant])


@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_two_releases_do_not_clash(scope):
    values = merged(EVERYTHING, {"rbac": {"scope": scope, "namespaces": ["team-c"]}, "extraObjects": []})
    others = merged(values, {"crds": {"enabled": False}})
    releases = [("tuning", "team-a", values), ("tuning", "team-b", others), ("other", "team-a", others)]
    # Their own names must not be fixed by a value, nor may a service account be shared.
    seen = [
        identity
        for release, namespace, given in releases
        for identity in identities(render(merged(given, {"serviceAccount": {"name": ""}}), release, namespace))
    ]
    assert sorted(set(seen)) == sorted(seen)


LONG = "x" * 53


@pytest.mark.parametrize(
    ("release", "values"),
    [
        (LONG, {}),
        (LONG, {"nameOverride": "y" * 63}),
        (RELEASE, {"fullnameOverride": "z" * 100}),
        ("a.dotted.release.name.that.is.quite.long.as.it.goes", {"nameOverride": "trailing-" * 6}),
        ("20", {}),
    ],
)
def test_names_and_labels_stay_within_limits(release, values):
    objects = render(merged(EVERYTHING, values, {"serviceAccount": {"name": ""}}), release, "n" * 63)
    label = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
    dns_label = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
    for item in objects:
        assert all(label.match(value) for value in item["metadata"].get("labels", {}).values())
    for kind in ("Deployment", "Service", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"):
        assert dns_label.match(only(objects, kind)["metadata"]["name"])


def test_two_long_names_stay_two():
    first = render({"fullnameOverride": "z" * 60 + "a"})
    second = render({"fullnameOverride": "z" * 60 + "b"})
    assert only(first, "Deployment")["metadata"]["name"] != only(second, "Deployment")["metadata"]["name"]
