"""Every example is taken by the API server, by `zo run`, and by the operator, whose Job Kubernetes takes."""

from pathlib import Path

import pytest
import yaml
from tools.chart import ROOT

from fakes.kube import admit_resource
from fakes.kube_apply import merge_patch
from fixtures.openapi import KUBERNETES_VERSIONS, check
from zo_operator.api.spec import parse_spec
from zo_operator.manifests.document import FILE, config_map
from zo_operator.manifests.job import job
from zo_operator.manifests.metadata import Owner
from zo_operator.manifests.service import service
from zo_runtime.config.document import Document
from zo_runtime.config.load import parse_document

FOLDER = ROOT / "examples"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
every_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def admitted(path: Path) -> dict:
    body, wrong = admit_resource(yaml.safe_load(path.read_text()), None, strict=True)
    assert wrong == []
    return body


def owner(body: dict) -> Owner:
    return Owner(body["metadata"]["name"], "team-a", "a2b8a9de-6c1b-4a1c-b4c2-0d8c6a9a7c11")


def test_the_promised_examples_are_there():
    assert {path.stem for path in EXAMPLES} >= {"s3", "opt-13b-sst2", "kueue"}


@every_example
def test_the_api_server_takes_it(path):
    body = admitted(path)
    assert (body["apiVersion"], body["kind"]) == ("zofinetune.io/v1alpha1", "ZOFineTune")
    assert "status" not in body


@every_example
def test_zo_run_takes_it(path):
    document, notices = parse_document(path.read_text(), path.name)
    assert document.metadata.name == admitted(path)["metadata"]["name"]
    assert all(isinstance(notice, str) for notice in notices)


@every_example
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_kubernetes_takes_what_the_operator_makes_of_it(path, version):
    body = admitted(path)
    spec = parse_spec(body["spec"])
    for child in (
        job(owner(body), spec, "zo-example-1", "zofinetune/runtime:0.1.0"),
        config_map(owner(body), spec, "zo-example-1"),
        service(owner(body), spec.metrics.port),
    ):
        check(child, version)


@every_example
def test_the_pod_reads_the_same_run(path):
    body = admitted(path)
    mounted = yaml.safe_load(config_map(owner(body), parse_spec(body["spec"]), "x")["data"][FILE])
    assert Document.model_validate(mounted).spec.optimizer == parse_spec(body["spec"]).optimizer


def test_the_paper_example_has_the_papers_settings():
    spec = parse_spec(admitted(FOLDER / "opt-13b-sst2.yaml")["spec"])
    found = spec.optimizer
    assert (found.steps, found.rank, found.interval, found.epsilon) == (20_000, 2, 50, 1e-3)
    assert spec.model.name == "facebook/opt-13b"


def test_the_queued_example_waits_for_kueue():
    body = admitted(FOLDER / "kueue.yaml")
    made = job(owner(body), parse_spec(body["spec"]), "x", "image")
    assert made["spec"]["suspend"] is True
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpu-queue"


@every_example
def test_it_is_explained(path):
    assert path.read_text().startswith("# ")
    assert path.name in (ROOT / "docs" / "examples.md").read_text()


def test_the_quickstart_with_its_patch_is_one_for_a_cluster():
    patch = yaml.safe_load((FOLDER / "patches" / "quickstart-on-claims.yaml").read_text())
    body, wrong = admit_resource(
        merge_patch(yaml.safe_load((FOLDER / "quickstart.yaml").read_text()), patch), None, strict=True
    )
    assert wrong == []
    spec = parse_spec(body["spec"])
    pod = job(owner(body), spec, "zo-example-1", "zofinetune/runtime:0.1.0")["spec"]["template"]["spec"]
    claims = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    assert claims == {"quickstart-data", "quickstart-log"}
    run = yaml.safe_load(config_map(owner(body), spec, "zo-example-1")["data"][FILE])["spec"]
    folders = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
    for path in (run["data"]["train"]["uri"], run["storage"]["uri"]):
        assert any(path.startswith(f"{folder}/") for folder in folders)
