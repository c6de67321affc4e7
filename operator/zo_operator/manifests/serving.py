"""The ConfigMap that serving replicas mount: what to serve under the model name."""

from __future__ import annotations

from zo_operator import names
from zo_operator.manifests.document import CA_FILE
from zo_operator.manifests.metadata import Object, Owner, metadata
from zo_runtime.config.storage import S3
from zo_runtime.errors import InvalidSpec
from zo_runtime.serving.contract import DesiredState


def file_name(model: str) -> str:
    """The key of the ConfigMap, and so the file's name in the replicas."""
    return f"{model}.json"


def config_map(owner: Owner, desired: DesiredState) -> Object:
    """The ConfigMap. It changes with each rollout, so it must be mounted as a folder: Kubernetes does not follow
    changes below a `subPath`."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(owner, names.serving(owner.name), component=names.COMPONENT_SERVING),
        "data": {file_name(desired.name): desired.to_json()},
    }


def stored_state(found: Object | None, model: str) -> DesiredState | None:
    """What a stored ConfigMap says; none where it says nothing that can be read."""
    text = ((found or {}).get("data") or {}).get(file_name(model))
    if text is None:
        return None
    try:
        return DesiredState.parse(text, file_name(model))
    except InvalidSpec:
        return None


def without_secrets(s3: S3) -> S3:
    """How replicas reach S3: their credentials are their own, and a CA stands where runs have it too."""
    ca_file = CA_FILE if s3.ca_secret_ref else s3.ca_file
    return s3.model_copy(update={"secret_ref": None, "ca_secret_ref": None, "ca_file": ca_file})
