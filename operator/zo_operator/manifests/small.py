"""Small pods beside a round: its image, credentials and volumes, without its GPU, its network name and its probes."""

from __future__ import annotations

from collections.abc import Sequence

from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.manifests.metadata import Object, Owner, labels
from zo_operator.manifests.pod import pod_template

_RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}}


def small_pod(
    owner: Owner, spec: ZOFineTuneSpec, config_map: str, image: str, component: str, command: Sequence[str]
) -> Object:
    """A pod template that runs one command of `zo` on the manifest in a ConfigMap."""
    template = pod_template(owner, spec, config_map, image)
    template["metadata"]["labels"] = spec.runtime.pod_labels | labels(owner, component)
    pod = template["spec"]
    del pod["subdomain"]
    container = pod["containers"][0]
    container["command"] = list(command)
    container["resources"] = {key: dict(value) for key, value in _RESOURCES.items()}
    for key in ("ports", "startupProbe", "readinessProbe", "livenessProbe"):
        container.pop(key, None)
    return template
