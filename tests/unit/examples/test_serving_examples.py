"""The serving examples are taken by Kubernetes, and name what the plugin and the operator really use."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.chart import ROOT

from fakes.kube import admit_resource
from fixtures.openapi import KUBERNETES_VERSIONS, check
from zo_operator import names
from zo_operator.api.spec import parse_spec
from zo_runtime.config.load import parse_document
from zo_runtime.config.optimizer import Optimizer
from zo_runtime.serving.contract import DESIRED_STATE_DEFAULT, POD_NAME
from zo_runtime.serving.settings import CACHE_DEFAULT, CACHE_MEGABYTES_DEFAULT

FOLDER = ROOT / "examples" / "serving"


def deployment_of(path: Path) -> dict[str, Any]:
    """The Deployment of an example; of the Helm values, the one that the chart makes of them."""
    first = next(yaml.safe_load_all(path.read_text()))
    if "kind" in first:
        return first
    (spec,) = first["servingEngineSpec"]["modelSpec"]
    command = ["vllm", "serve", spec["modelURL"]]
    command += ["--enable-lora"] if spec["enableLoRA"] else []
    command += [f"--max-loras={spec['vllmConfig']['maxLoras']}", "=".join(spec["vllmConfig"]["extraArgs"])]
    container = {
        "name": "vllm",
        "image": f"{spec['repository']}:{spec['tag']}",
        "command": command,
        "env": spec["env"],
        "volumeMounts": spec["extraVolumeMounts"],
    }
    labels = {"model": spec["name"]}
    pod = {
        "containers": [container],
        "volumes": spec["extraVolumes"],
        "serviceAccountName": spec["serviceAccountName"],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": spec["name"]},
        "spec": {
            "replicas": spec["replicaCount"],
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


RESOURCE = FOLDER / "zofinetune.yaml"
EXAMPLES = sorted(set(FOLDER.glob("*.yaml")) - {RESOURCE})
every_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def test_both_promised_examples_are_there() -> None:
    assert {path.stem for path in EXAMPLES} == {"vllm-deployment", "production-stack-values"}


@every_example
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_kubernetes_takes_it(path: Path, version: str) -> None:
    check(deployment_of(path), version)
    for item in yaml.safe_load_all(path.read_text()):
        if "kind" in item:
            check(item, version)


@every_example
def test_the_replica_finds_what_it_needs(path: Path) -> None:
    pod = deployment_of(path)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {entry["name"]: entry for entry in container["env"]}
    plugin = environment["VLLM_PLUGINS"]["value"]
    for group in ("vllm.general_plugins", "vllm.endpoint_plugins"):
        assert plugin in {point.name for point in entry_points(group=group)}
    assert environment[POD_NAME]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    desired = mounts[DESIRED_STATE_DEFAULT]
    assert "subPath" not in desired
    assert volumes[desired["name"]]["configMap"] == {"name": names.serving("messages"), "optional": True}
    limit = volumes[mounts[CACHE_DEFAULT]["name"]]["emptyDir"]["sizeLimit"]
    assert int(limit.removesuffix("Gi")) * 2**30 > CACHE_MEGABYTES_DEFAULT * 10**6
    assert {"--enable-lora", "--max-loras=2"} <= set(container["command"])
    defaults = {name: field.default for name, field in Optimizer.model_fields.items()}
    assert f"--max-lora-rank={defaults['rank'] * defaults['subspaces']}" in container["command"]


@every_example
def test_it_is_explained(path: Path) -> None:
    assert path.read_text().startswith("# ")
    assert f"examples/serving/{path.name}" in (ROOT / "docs" / "serving.md").read_text()


def test_the_resource_is_taken_and_fits_the_deployment() -> None:
    body, wrong = admit_resource(yaml.safe_load(RESOURCE.read_text()), None, strict=True)
    assert wrong == []
    serving = parse_spec(body["spec"]).serving
    assert serving is not None
    deployment = deployment_of(FOLDER / "vllm-deployment.yaml")
    assert serving.selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert serving.port in {port["containerPort"] for port in container["ports"]}
    (key,) = (e["valueFrom"]["secretKeyRef"] for e in container["env"] if e["name"] == "VLLM_API_KEY")
    assert serving.api_key_secret_ref is not None
    assert (serving.api_key_secret_ref.name, serving.api_key_secret_ref.key) == (key["name"], key["key"])
    assert {check.name for check in serving.rollout.checks} == {"errors", "accuracy"}


def test_the_resource_learns_what_the_s3_example_does() -> None:
    served, plain = (yaml.safe_load(path.read_text()) for path in (RESOURCE, FOLDER.parent / "s3.yaml"))
    assert served["metadata"] == plain["metadata"]
    for part in ("model", "data", "objective", "optimizer"):
        assert served["spec"][part] == plain["spec"][part]


def test_zo_run_takes_the_resource() -> None:
    document, notices = parse_document(RESOURCE.read_text(), RESOURCE.name)
    assert document.metadata.name == "messages"
    assert "spec.serving: ignored outside a cluster" in notices
