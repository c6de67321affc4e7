"""The chart's life in a cluster, by the real helm: install, upgrade, uninstall, and what stays."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tools.chart import ROOT

from fixtures.chart import CHART, NAMESPACE, RELEASE, Values, helm
from fixtures.helm_cluster import Cluster, cluster

CRD = "zofinetunes.zofinetune.io"
CRD_PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{CRD}"

Helm = Callable[..., str]


@pytest.fixture
def api(tmp_path: Path):
    with cluster(tmp_path) as server:
        yield server


@pytest.fixture
def run(api: Cluster, tmp_path: Path) -> Helm:
    def run(verb: str, *arguments: str, release: str = RELEASE, values: Values | None = None, ok: bool = True) -> str:
        common = ["--namespace", NAMESPACE, "--kubeconfig", str(api.kubeconfig)]
        if verb != "uninstall":
            arguments = (str(CHART), "--values", "-", *arguments)
        done = helm(verb, release, *arguments, *common, text=json.dumps(values or {}), home=tmp_path)
        assert (done.returncode == 0) == ok, done.stderr
        return done.stdout + done.stderr

    return run


def project_crd() -> dict:
    return yaml.safe_load((ROOT / "crds" / "zofinetunes.yaml").read_text())["spec"]


def test_install_creates_everything_and_uninstall_leaves_the_crd_alone(api, run):
    notes = run("install")
    assert api.objects[CRD_PATH]["spec"] == project_crd()
    assert api.find("Deployment").keys() == {f"{RELEASE}-zofinetune"}
    assert f"deployment/{RELEASE}-zofinetune" in notes
    run("uninstall")
    assert api.objects.keys() == {CRD_PATH}


def test_without_keep_the_crd_goes_with_the_release(api, run):
    assert "WARNING" in run("install", values={"crds": {"keep": False}})
    run("uninstall")
    assert CRD_PATH not in api.objects


def test_keep_can_be_switched_on_and_off_by_an_upgrade(api, run):
    run("install", values={"crds": {"keep": False}})
    run("upgrade", values={"crds": {"keep": True}})
    run("uninstall")
    assert CRD_PATH in api.objects
    run("install")
    run("upgrade", values={"crds": {"keep": False}})
    run("uninstall")
    assert CRD_PATH not in api.objects


def test_switching_the_crds_off_in_an_upgrade_keeps_them_with_keep(api, run):
    run("install")
    run("upgrade", values={"crds": {"enabled": False}})
    assert CRD_PATH in api.objects


def test_upgrade_brings_an_old_crd_up_to_date(api, run):
    run("install")
    fresh = json.dumps(api.objects[CRD_PATH]["spec"])
    api.objects[CRD_PATH]["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": {"type": "object"}}
    run("upgrade")
    assert json.dumps(api.objects[CRD_PATH]["spec"]) == fresh


def test_a_new_release_of_the_same_name_takes_the_kept_crd_over(api, run):
    run("install")
    run("uninstall")
    run("install")
    assert CRD_PATH in api.objects


def test_a_second_release_leaves_the_crd_to_the_first(api, run):
    run("install", values={"rbac": {"scope": "namespace"}})
    refused = run("install", release="other", ok=False)
    assert CRD in refused and "ownership" in refused
    run("install", release="second", values={"crds": {"enabled": False}, "rbac": {"scope": "namespace"}})
    assert api.find("Deployment").keys() == {f"{RELEASE}-zofinetune", "second-zofinetune"}
    run("uninstall", release="second")
    assert api.find("Deployment").keys() == {f"{RELEASE}-zofinetune"}


def test_an_upgrade_without_changes_changes_nothing(api, run):
    run("install")
    before = {
        path: item.get("spec", item.get("rules")) for path, item in api.objects.items() if "secrets" not in path
    }
    run("upgrade")
    after = {path: item.get("spec", item.get("rules")) for path, item in api.objects.items() if "secrets" not in path}
    assert after == before
