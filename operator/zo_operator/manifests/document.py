"""The manifest that the pods read: the resource's spec, with its cluster-side references made into paths."""

from __future__ import annotations

from typing import Any

import yaml

from zo_operator import names
from zo_operator.api.spec import ZOFineTuneSpec
from zo_operator.manifests.metadata import Object, Owner, metadata
from zo_runtime.config.data import Source
from zo_runtime.config.document import RunSpec
from zo_runtime.config.model import VolumeClaim
from zo_runtime.rounds.contract import RoundOrder

FILE = "zofinetune.yaml"
FOLDER = "/etc/zofinetune"
CA_FOLDER = "/etc/zofinetune-ca"
CA_FILE = f"{CA_FOLDER}/ca.crt"

# Where claims are mounted, by the part of the spec that names them.
MODEL_FOLDER = "/mnt/zofinetune/model"
TRAIN_FOLDER = "/mnt/zofinetune/train"
EVALUATION_FOLDER = "/mnt/zofinetune/evaluation"
REGRESSION_FOLDER = "/mnt/zofinetune/regression"


def claims(spec: ZOFineTuneSpec) -> dict[str, VolumeClaim]:
    """The claims to mount, by mount path."""
    evaluation, regression = spec.data.evaluation, spec.gate and spec.gate.regression
    found = {
        MODEL_FOLDER: spec.model.persistent_volume_claim,
        TRAIN_FOLDER: spec.data.train.persistent_volume_claim,
        EVALUATION_FOLDER: evaluation.persistent_volume_claim if evaluation else None,
        REGRESSION_FOLDER: regression.source.persistent_volume_claim if regression else None,
    }
    return {path: claim for path, claim in found.items() if claim is not None}


def run_spec(spec: ZOFineTuneSpec) -> RunSpec:
    """What the runtime obeys inside a pod: claims and CA secret as paths, and a port open to the cluster."""
    model = spec.model
    if model.persistent_volume_claim is not None:
        model = model.model_copy(update={"name": f"{MODEL_FOLDER}/{model.name}", "persistent_volume_claim": None})
    data = spec.data.model_copy(
        update={
            "train": _mounted(spec.data.train, TRAIN_FOLDER),
            "evaluation": spec.data.evaluation and _mounted(spec.data.evaluation, EVALUATION_FOLDER),
        }
    )
    gate = spec.gate
    if gate and gate.regression:
        source = _mounted(gate.regression.source, REGRESSION_FOLDER)
        gate = gate.model_copy(update={"regression": gate.regression.model_copy(update={"source": source})})
    s3 = spec.storage.s3
    inside = {"ca_file": CA_FILE if s3.ca_secret_ref else s3.ca_file, "ca_secret_ref": None, "secret_ref": None}
    storage = spec.storage.model_copy(update={"s3": s3.model_copy(update=inside)})
    metrics = spec.metrics.model_copy(update={"host": "0.0.0.0"})  # noqa: S104 -- the pod's own addresses
    fields = {name: getattr(spec, name) for name in RunSpec.model_fields}
    changed = {"model": model, "data": data, "gate": gate, "storage": storage, "metrics": metrics}
    return RunSpec.model_construct(**(fields | changed))


def _mounted(source: Source, folder: str) -> Source:
    if source.persistent_volume_claim is None:
        return source
    return source.model_copy(update={"uri": f"{folder}/{source.uri}", "persistent_volume_claim": None})


def document(owner: Owner, spec: ZOFineTuneSpec, order: RoundOrder | None = None) -> str:
    """The manifest as YAML text; with the order of a scheduled round beside the spec."""
    body: dict[str, Any] = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": owner.name, "namespace": owner.namespace, "uid": owner.uid},
        "spec": run_spec(spec).model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    if order is not None:
        body["round"] = order.model_dump(mode="json", by_alias=True, exclude_none=True)
    return yaml.safe_dump(body, sort_keys=False, width=110, allow_unicode=True)


def config_map(
    owner: Owner,
    spec: ZOFineTuneSpec,
    name: str,
    order: RoundOrder | None = None,
    component: str = names.COMPONENT_RUNTIME,
) -> Object:
    """The ConfigMap of one Job. It never changes under its name, so nodes need not watch it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(owner, name, component=component),
        "immutable": True,
        "data": {FILE: document(owner, spec, order)},
    }
