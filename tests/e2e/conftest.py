"""The release and a namespace for each test. What a test leaves behind in its namespace is a failure."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest

from e2e.kube import (
    CRD,
    PATIENCE,
    SYSTEM,
    Failed,
    every,
    helm,
    kubectl,
    operator_is_ready,
    runs_on_this_host,
    say,
    until,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def release() -> Iterator[None]:
    """The chart, installed; at the end everything of it is gone, the API included."""
    if not os.environ.get("KUBECONFIG"):
        pytest.exit("make e2e needs a cluster: set KUBECONFIG to one that you may install on", returncode=2)
    say("Kubernetes " + json.loads(kubectl("get", "--raw", "/version"))["gitVersion"])
    say("containers run as " + ("processes of this host" if runs_on_this_host() else "images"))
    helm("upgrade", "--install")
    try:
        operator_is_ready()
        kubectl("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=60s")
        say("the operator is ready")
        yield
    finally:
        helm("uninstall")
        kubectl("delete", "crd", CRD, "--ignore-not-found")
        kubectl("delete", "namespace", SYSTEM, "--ignore-not-found", "--timeout=120s")


@pytest.fixture
def namespace(release: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, in which nothing of the operator may be left at the end."""
    name = re.sub(r"[^a-z0-9]+", "-", "zo-e2e-" + request.node.name.removeprefix("test_"))[:50].strip("-")
    kubectl("create", "namespace", name)
    try:
        yield name
        kubectl("delete", "zofinetunes", "--all", "--namespace", name, f"--timeout={PATIENCE:.0f}s")
        until(lambda: not leftovers(name), f"nothing left in {name}", 120)
    except Failed:
        say(f"left in {name}: {leftovers(name)}")
        raise
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def leftovers(namespace: str) -> list[str]:
    """What the operator made and did not take away."""
    kinds = "zofinetunes,jobs,pods,configmaps,services"
    mine = every(kinds, namespace, "app.kubernetes.io/managed-by=zofinetune")
    return [f"{item['kind']}/{item['metadata']['name']}" for item in mine]
