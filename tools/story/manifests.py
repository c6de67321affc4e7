"""The objects that a user of the product would apply: credentials, vLLM replicas, the resource."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from tools.story.cast import Cast
from tools.story.clients import Question
from tools.story.shop import CHECKED, FILES, GOLDEN, INCOMING, RECORDS

from zo_operator import names

Object = dict[str, Any]
NAME = "triage"
SECRET = "s3-credentials"
LABELS = {"app": "triage-vllm"}
QUESTION = Question("{text} Priority:", {"high": " high", "low": " low"})
_DESIRED, _CACHE = "/etc/zofinetune/serving", "/var/cache/zofinetune"


def secret(access_key: str, secret_key: str) -> Object:
    """What pods reach S3 with."""
    values = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
    meta = {"name": SECRET, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}


def resource(cast: Cast, bucket: str, s3: Object, port: int) -> Object:
    """The one manifest: learn from what comes in, let through what is better, try it on one replica, then on all."""
    uri = f"s3://{bucket}"
    classification = {"prompt": QUESTION.prompt, "labelField": "priority", "singleToken": True}
    golden = {"source": {"uri": f"{uri}/{GOLDEN}"}, "maxLoss": 0.1}
    check = {"name": "accuracy", "heldOut": {"minAccuracy": 0.7, "maxAccuracyDrop": 0.05}}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {
            "model": {"name": cast.model, "maxLength": 64},
            "data": {
                "train": {"uri": f"{uri}/{INCOMING}", "format": "jsonl"},
                "evaluation": {"uri": f"{uri}/{CHECKED}", "format": "jsonl"},
            },
            "objective": {"classification": classification | {"labels": dict(QUESTION.words)}},
            "optimizer": dict(cast.optimizer),
            # What is learned from bad data is to be judged by the gate, not stopped on the way as diverging.
            "evaluation": {"every": cast.optimizer["steps"] // 2, "maxLossIncrease": 100},
            "gate": {"metric": "accuracy", "minGain": 0.05, "regression": golden},
            "storage": {"uri": f"{uri}/log", "s3": s3 | {"secretRef": SECRET}},
            # What was learned under the old meaning is in the way of the new one: docs/story.md has the figures.
            "schedule": {"freshData": {"examples": FILES * RECORDS, "probeSeconds": 10}, "warmStart": False},
            "serving": {
                "selector": LABELS,
                "port": port,
                "rollout": {"canaryReplicas": 1, "bakeSeconds": cast.bake_seconds, "checks": [check]},
            },
            "runtime": {"resources": {"requests": {"cpu": "2", "memory": "4Gi"}}},
        },
    }


def replicas(cast: Cast, port: int, finalizers: Sequence[str]) -> list[Object]:
    """The pods of a Deployment of stock vLLM, as docs/serving.md sets it up for CPUs."""
    return [_replica(f"{NAME}-vllm-{number}", cast, port, finalizers) for number in range(cast.replicas)]


def _replica(name: str, cast: Cast, port: int, finalizers: Sequence[str]) -> Object:
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    env = [
        {"name": "VLLM_PLUGINS", "value": "zofinetune"},
        {"name": "VLLM_NO_USAGE_STATS", "value": "1"},
        {"name": "HOME", "value": "/var/lib/zofinetune"},
        {"name": "ZO_DESIRED_STATE", "value": _DESIRED},
        {"name": "ZO_CACHE_DIR", "value": _CACHE},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *({"name": key, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key}}} for key in keys),
    ]
    mounts = {"desired-state": _DESIRED, "adapters": _CACHE, "home": "/var/lib/zofinetune"}
    container = {
        "name": "vllm",
        "image": "zofinetune/runtime",
        "command": [*cast.server, "--host=0.0.0.0", f"--port={port}"],
        "env": env,
        "ports": [{"name": "http", "containerPort": port}],
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
    }
    volumes: list[Object] = [
        {"name": "desired-state", "configMap": {"name": names.serving(NAME), "optional": True}},
        {"name": "adapters", "emptyDir": {}},
        {"name": "home", "emptyDir": {}},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": LABELS, "finalizers": list(finalizers)},
        "spec": {"containers": [container], "volumes": volumes},
        "status": {"phase": "Pending"},
    }
