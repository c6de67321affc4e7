"""The chart and the operator agree: options, ports, paths, labels."""

import inspect

import pytest

from fixtures.chart import EVERYTHING, VARIANTS, merged, of_kind, only, refusal, render
from zo_operator import names, web
from zo_operator.__main__ import main
from zo_operator.settings import Settings

FIELDS = {"ZO_OPERATOR_LEASE_NAMESPACE": "team-a", "ZO_OPERATOR_IDENTITY": "tuning-zofinetune-0"}


def container(variant: str) -> dict:
    return only(render(VARIANTS[variant]), "Deployment")["spec"]["template"]["spec"]["containers"][0]


def settings(variant: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that the operator reads from the environment of the rendered container."""
    for item in container(variant)["env"]:
        monkeypatch.setenv(item["name"], item.get("value") or FIELDS.get(item["name"], ""))
    return Settings(**main.make_context("zo-operator", []).params)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_operator_knows_every_variable_of_the_chart(variant):
    known = {f"ZO_OPERATOR_{parameter.name.upper()}" for parameter in main.params}
    given = {item["name"] for item in container(variant)["env"] if item["name"].startswith("ZO_")}
    assert given and given <= known


@pytest.mark.parametrize("variant", VARIANTS)
def test_ports_of_the_container_are_those_that_the_operator_opens(variant, monkeypatch):
    read = settings(variant, monkeypatch)
    ports = {port["name"]: port["containerPort"] for port in container(variant)["ports"]}
    assert ports == {"health": read.health_port, "metrics": read.metrics_port}


def test_values_reach_the_settings(monkeypatch):
    read = settings("everything-namespaced", monkeypatch)
    assert read.namespaces == ("team-a", "team-b")
    assert read.runtime_image == EVERYTHING["runtime"]["image"]["repository"] + ":1.2.3"
    assert (read.log_level, read.log_format) == ("debug", "text")
    assert (read.lease_name, read.lease_namespace) == ("tuning-zofinetune", "team-a")
    assert read.identity == "tuning-zofinetune-0"


def test_defaults_of_the_chart_are_those_of_the_operator(monkeypatch):
    read = settings("default", monkeypatch)
    assert read.clusterwide
    assert (read.runtime_image, read.log_level) == (Settings().runtime_image, Settings().log_level)


def test_probes_ask_routes_that_the_operator_serves():
    source = inspect.getsource(web)
    for probe in ("livenessProbe", "readinessProbe"):
        assert f'"{container("default")[probe]["httpGet"]["path"]}"' in source


def test_run_pods_are_selected_by_the_labels_that_the_operator_gives():
    objects = render(EVERYTHING)
    wanted = {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_COMPONENT: names.COMPONENT_RUNTIME}
    selectors = {
        item["metadata"]["name"].rpartition("-")[2]: item["spec"]["selector"]["matchLabels"]
        for item in of_kind(objects, "PodMonitor")
    }
    assert selectors == {"runs": wanted, "serving": {"app": "vllm"}}
    peers = [rule["to"][0] for rule in only(objects, "NetworkPolicy")["spec"]["egress"] if "to" in rule]
    assert [peer["podSelector"]["matchLabels"] for peer in peers if "podSelector" in peer] == [wanted]


def test_series_of_resources_keep_their_own_namespace():
    assert only(render(EVERYTHING), "ServiceMonitor")["spec"]["endpoints"][0]["honorLabels"] is True


def test_serving_pods_are_scraped_on_vllms_port_where_the_operator_watches():
    values = {"metrics": {"servingPodMonitor": {"enabled": True, "matchLabels": {"app": "vllm"}}}}
    (everywhere,) = of_kind(render(values), "PodMonitor")
    assert everywhere["spec"]["namespaceSelector"] == {"any": True}
    assert everywhere["spec"]["podMetricsEndpoints"][0]["port"] == "http"
    namespaces = {"rbac": {"scope": "namespace", "namespaces": ["team-b"]}}
    (some,) = of_kind(render(merged(values, namespaces)), "PodMonitor")
    assert some["spec"]["namespaceSelector"] == {"matchNames": ["team-b"]}


def test_a_monitor_that_would_scrape_every_pod_is_refused():
    assert "servingPodMonitor.matchLabels is empty" in refusal({"metrics": {"servingPodMonitor": {"enabled": True}}})
