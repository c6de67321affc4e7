"""Where the Kubernetes API is and who the operator is there: the pod's service account, else a kubeconfig."""

from __future__ import annotations

import os
from pathlib import Path

import kopf

from zo_operator.errors import SettingsError

_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def connection(folder: Path = _FOLDER) -> kopf.ConnectionInfo:
    """Read the credentials afresh: a service account's token is replaced every hour.

    Raises:
        SettingsError: there are none.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    token = folder / "token"
    if host and token.exists():
        address = f"[{host}]" if ":" in host else host
        authority = folder / "ca.crt"
        return kopf.ConnectionInfo(
            server=f"https://{address}:{port}",
            ca_path=authority if authority.exists() else None,
            token=token.read_text().strip(),
        )
    try:
        found = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    except (kopf.LoginError, OSError, KeyError) as error:
        raise SettingsError(f"KUBECONFIG: cannot be read: {error}") from error
    if found is None:
        raise SettingsError("no cluster: run in a pod with a service account, or set KUBECONFIG")
    return found
