"""The Job that scores a replica on held-out examples, and the manifest that it reads."""

from __future__ import annotations

from zo_operator import names
from zo_operator.api.checks import Check, HeldOutCheck
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.manifests import document
from zo_operator.manifests.job import pod_failure_policy
from zo_operator.manifests.metadata import Object, Owner, metadata
from zo_operator.manifests.small import on_any_node, small_pod
from zo_runtime.rounds.check_result import API_KEY
from zo_runtime.serving.contract import Target

_RETRIES = 2
# Reading the examples and waiting for answers needs little; the tokenizer and its libraries take the memory.
_RESOURCES = {"requests": {"cpu": "200m", "memory": "1Gi"}}


def config_map(owner: Owner, spec: ZOFineTuneSpec, name: str) -> Object:
    """The manifest that the Job of the same name reads."""
    return document.config_map(owner, spec, name, component=names.COMPONENT_CHECK)


def job(
    owner: Owner, spec: ZOFineTuneSpec, name: str, image: str, check: Check, replica: str, model: str, target: Target
) -> Object:
    """The Job. `replica` is the URL of the vLLM server to score. Its pod has the image, the volumes and the access to
    storage of a round's, and no GPU."""
    held_out = check.held_out
    if held_out is None:
        raise ValueError("a Job is for checks of held-out examples")
    command = _command(held_out, replica, model, target)
    template = on_any_node(small_pod(owner, spec, name, image, names.COMPONENT_CHECK, command))
    container = template["spec"]["containers"][0]
    container["resources"] = {key: dict(value) for key, value in _RESOURCES.items()}
    key = spec.serving.api_key_secret_ref if spec.serving else None
    if key is not None:
        reference = {"secretKeyRef": {"name": key.name, "key": key.key}}
        others = [variable for variable in container["env"] if variable["name"] != API_KEY]
        container["env"] = [*others, {"name": API_KEY, "valueFrom": reference}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(owner, name, component=names.COMPONENT_CHECK),
        "spec": {
            "backoffLimit": _RETRIES,
            "activeDeadlineSeconds": check.timeout_seconds,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": pod_failure_policy(),
            "template": template,
        },
    }


def _command(check: HeldOutCheck, replica: str, model: str, target: Target) -> list[str]:
    command = ["zo", "check", f"{document.FOLDER}/{document.FILE}", f"--replica={replica}", f"--model={model}"]
    command += [f"--version={target.version}", f"--sha256={target.sha256}"]
    command += [f"--max-accuracy-drop={check.max_accuracy_drop!r}"]
    command += [f"--examples={check.examples}"] if check.examples is not None else []
    command += [f"--max-loss-increase={check.max_loss_increase!r}"] if check.max_loss_increase is not None else []
    command += [f"--min-accuracy={check.min_accuracy!r}"] if check.min_accuracy is not None else []
    return command
