"""The Job that looks at the data between two rounds: `zo probe` in a small pod, on any node."""

from __future__ import annotations

from zo_operator import names
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.manifests.document import FILE, FOLDER, config_map
from zo_operator.manifests.metadata import Object, Owner, metadata
from zo_operator.manifests.small import on_any_node, small_pod

# A look that hangs must not hold up the next one for ever. The first one at much data reads all of it.
DEADLINE_SECONDS = 3600


def probe_config_map(owner: Owner, spec: ZOFineTuneSpec, name: str) -> Object:
    """The manifest that the Job of the same name reads."""
    return config_map(owner, spec, name, component=names.COMPONENT_PROBE)


def probe_job(owner: Owner, spec: ZOFineTuneSpec, name: str, image: str) -> Object:
    """One try, whose end is the operator's to read; what the cluster did to a pod does not count."""
    command = ["zo", "probe", f"{FOLDER}/{FILE}"]
    template = on_any_node(small_pod(owner, spec, name, image, names.COMPONENT_PROBE, command))
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
