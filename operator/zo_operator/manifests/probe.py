"""The Job that looks at the data between two rounds: `zo probe` in a small pod, on any node."""

from __future__ import annotations

from zo_operator import names
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.manifests.document import FILE, FOLDER, config_map
from zo_operator.manifests.metadata import Object, Owner, metadata
from zo_operator.manifests.small import small_pod

# A look that hangs must not hold up the next one for ever. The first one at much data reads all of it.
DEADLINE_SECONDS = 3600
# What says which nodes can run the image at all; the rest of a node selector asks for GPUs.
_PLATFORM = ("kubernetes.io/arch", "kubernetes.io/os")


def probe_config_map(owner: Owner, spec: ZOFineTuneSpec, name: str) -> Object:
    """The manifest that the Job of the same name reads."""
    return config_map(owner, spec, name, component=names.COMPONENT_PROBE)


def probe_job(owner: Owner, spec: ZOFineTuneSpec, name: str, image: str) -> Object:
    """One try, whose end is the operator's to read; what the cluster did to a pod does not count. Without the
    nodes and the cache of rounds: a look at the data must not make a cluster start a GPU node."""
    command = ["zo", "probe", f"{FOLDER}/{FILE}"]
    template = small_pod(owner, spec, name, image, names.COMPONENT_PROBE, command)
    pod = template["spec"]
    for key in ("affinity", "topologySpreadConstraints"):
        pod.pop(key, None)
    selector = pod.pop("nodeSelector", {})
    if kept := {key: selector[key] for key in _PLATFORM if key in selector}:
        pod["nodeSelector"] = kept
    _forget_cache(pod)
    disruption = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(owner, name, component=names.COMPONENT_PROBE),
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": [disruption]},
            "template": template,
        },
    }


def _forget_cache(pod: Object) -> None:
    """A claim for weights may tie the pod to the zone, or to the very node, of the GPUs."""
    for volume in pod["volumes"]:
        if volume["name"] == "zo-home":
            volume.pop("persistentVolumeClaim", None)
            volume.setdefault("emptyDir", {})
    for mount in pod["containers"][0]["volumeMounts"]:
        if mount["name"] == "zo-home":
            mount.pop("subPath", None)
