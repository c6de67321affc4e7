"""The release over time: upgrades bring the API up to date, and an uninstall leaves users' resources alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from tools.chart import CHART

from e2e.kube import CRD, RELEASE, SYSTEM, find, helm, kubectl, operator_is_ready, say, until
from e2e.resources import Resource, failing


def test_an_upgrade_brings_the_api_up_to_date(release: None, tmp_path: Path) -> None:
    old = tmp_path / "zofinetune"
    shutil.copytree(CHART, old)
    path = old / "files" / "crds" / "zofinetunes.yaml"
    body = yaml.safe_load(path.read_text())
    version = body["spec"]["versions"][0]
    del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["deletionPolicy"]
    version["additionalPrinterColumns"] = version["additionalPrinterColumns"][:2]
    path.write_text(yaml.safe_dump(body, sort_keys=False))
    helm("upgrade", chart=old)
    assert "deletionPolicy" not in kubectl("get", "crd", CRD, "--output", "yaml")
    helm("upgrade")
    assert "deletionPolicy" in kubectl("get", "crd", CRD, "--output", "yaml")
    operator_is_ready()
    say("helm upgrade changed the CustomResourceDefinition")


def test_an_uninstall_keeps_what_users_made(namespace: str) -> None:
    resource = Resource(failing(namespace, "kept"))
    resource.until_phase("Failed")
    helm("uninstall")
    left = kubectl("get", "clusterroles,clusterrolebindings", "--selector", f"app.kubernetes.io/instance={RELEASE}")
    assert left == ""
    assert kubectl(
        "get", "deployments,services,serviceaccounts", "--namespace", SYSTEM, "--output", "name"
    ).split() == ["serviceaccount/default"]
    assert find("zofinetune", "kept", namespace) is not None
    helm("install")
    operator_is_ready()
    kubectl("annotate", "zofinetune", "kept", "--namespace", namespace, "zofinetune.io/restart=again")
    until(lambda: len(resource.status()["rounds"]) == 2, "the second round")
    resource.until_phase("Failed")
    say("uninstalled and installed again; the resource stayed")
