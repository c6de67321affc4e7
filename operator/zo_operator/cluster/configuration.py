"""Where the Kubernetes API is and who the operator is there, as the `kubernetes` package finds it: the pod's service
account, else a kubeconfig with whatever that names: certificates, tokens, exec plugins."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from zo_operator.errors import SettingsError

_DEFAULT = "~/.kube/config"


async def configuration() -> Configuration:
    """Read the configuration and the credentials afresh.

    Raises:
        SettingsError: there is none, or it cannot be used.
    """
    found = Configuration()
    try:
        config.load_incluster_config(client_configuration=found)
    except config.ConfigException:
        await _from_kubeconfig(found)
    return found


async def _from_kubeconfig(found: Configuration) -> None:
    paths = os.environ.get("KUBECONFIG") or _DEFAULT
    if not any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path):
        if paths != _DEFAULT:
            raise SettingsError(f"KUBECONFIG: cannot be read: no file {paths}")
        raise SettingsError("no cluster: run in a pod with a service account, or set KUBECONFIG")
    try:
        await config.load_kube_config(config_file=paths, client_configuration=found, persist_config=False)
    except (config.ConfigException, yaml.YAMLError, OSError, TypeError, ValueError) as error:
        raise SettingsError(f"KUBECONFIG: cannot be read: {paths}: {error}") from error
