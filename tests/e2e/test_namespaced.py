"""A release of somebody who has rights in one namespace only."""

from __future__ import annotations

from tools.chart import CHART

from e2e.kube import answer, helm_release, kubectl, operator_is_ready, say, scale_operator, until
from e2e.resources import Resource, conditions, failing

RELEASE = "zo-e2e-team"
DEPLOYMENT = f"{RELEASE}-zofinetune"
RIGHTS = str(CHART / "files" / "namespace-admins.yaml")
BOSS = "zo-e2e-boss"
AS_BOSS = ("--kube-as-user", BOSS)
OWN = ("--set", "rbac.scope=namespace", "--set", "crds.enabled=false")
PARTS = "deployments,services,serviceaccounts,roles,rolebindings"
OF_RELEASE = f"app.kubernetes.io/instance={RELEASE}"


def test_an_administrator_of_a_namespace_installs_and_uses_it_there(namespace: str) -> None:
    scale_operator(0)  # two would act on one resource
    try:
        kubectl("apply", "--server-side", "--filename", RIGHTS)
        kubectl("create", "rolebinding", BOSS, "--clusterrole=admin", f"--user={BOSS}", "--namespace", namespace)
        until(
            lambda: may("patch", "zofinetunes", "--subresource=status", "--as", BOSS, "--namespace", namespace), BOSS
        )
        install_and_run(namespace)
        helm_release("uninstall", RELEASE, namespace, *AS_BOSS)
        assert kubectl("get", PARTS, "--selector", OF_RELEASE, "--namespace", namespace) == ""
    finally:
        kubectl("delete", "--ignore-not-found", "--filename", RIGHTS)
        scale_operator(1)


def install_and_run(namespace: str) -> None:
    helm_release("install", RELEASE, namespace, *AS_BOSS, *OWN)
    operator_is_ready(DEPLOYMENT, namespace)
    assert kubectl("get", "clusterroles,clusterrolebindings", "--selector", OF_RELEASE) == ""
    say("installed with the rights of the role admin in one namespace")
    status = Resource(failing(namespace, "ours")).until_phase("Failed")
    assert conditions(status)["Stalled"] == ("True", "InvalidData"), status
    account = ("--as", f"system:serviceaccount:{namespace}:{DEPLOYMENT}")
    assert may("list", "zofinetunes", *account, "--namespace", namespace)
    for what in ("zofinetunes", "pods", "jobs", "configmaps"):
        assert not may("list", what, *account, "--namespace", "default"), what
    say("its operator works there, and may look nowhere else")


def may(verb: str, *what: str) -> bool:
    return answer("kubectl", "auth", "can-i", verb, *what).startswith("yes")
