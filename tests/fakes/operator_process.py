"""`zo-operator` as a process of its own, against a fake API server."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from fakes.kube import FakeKube


def kubeconfig(kube: FakeKube, path: Path) -> str:
    """Write a kubeconfig for the server, and return its path."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": str(kube.url).rstrip("/")}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


def variables(kube: FakeKube, path: Path) -> dict[str, str]:
    """The environment of an operator that finds that server, and listens on free ports of the loopback."""
    given = {
        **os.environ,
        "KUBECONFIG": kubeconfig(kube, path),
        "ZO_OPERATOR_HOST": "127.0.0.1",
        "ZO_OPERATOR_HEALTH_PORT": "0",
        "ZO_OPERATOR_METRICS_PORT": "0",
    }
    given.pop("KUBERNETES_SERVICE_HOST", None)
    return given
