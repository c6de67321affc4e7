"""Small pods beside a round: its image, credentials and volumes, without its GPU, its network name and its probes."""

from __future__ import annotations

from collections.abc import Sequence

from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.manifests.metadata import Object, Owner, labels
from zo_operator.manifests.pod import pod_template

_RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}}
# What says which nodes can run the image at all; the rest of a node selector asks for GPUs.
_PLATFORM = ("kubernetes.io/arch", "kubernetes.io/os")


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


def on_any_node(template: Object) -> Object:
    """The template without the nodes and the cache of rounds: what takes no GPU must not make a cluster start a node
    that has one."""
    pod = template["spec"]
    for key in ("affinity", "topologySpreadConstraints"):
        pod.pop(key, None)
    selector = pod.pop("nodeSelector", {})
    if kept := {key: selector[key] for key in _PLATFORM if key in selector}:
        pod["nodeSelector"] = kept
    _forget_cache(pod)
    return template


def _forget_cache(pod: Object) -> None:
    """A claim for weights may tie the pod to the zone, or to the very node, of the GPUs."""
    for volume in pod["volumes"]:
        if volume["name"] == "zo-home":
            volume.pop("persistentVolumeClaim", None)
            volume.setdefault("emptyDir", {})
    for mount in pod["containers"][0]["volumeMounts"]:
        if mount["name"] == "zo-home":
            mount.pop("subPath", None)
