"""Claims for a run's data and log, on clusters with and without a provisioner."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from tools.chart import ROOT

from e2e.kube import Object, apply, kubectl, path_variable, runs_on_this_host, say, until, values

MESSAGES = ROOT / ".cache" / "data" / "messages.jsonl"
IMAGE = "zofinetune/runtime:0.1.0"


@contextlib.contextmanager
def claims(namespace: str, *names: str) -> Iterator[None]:
    """Bound claims; where the cluster has no storage class, on volumes of the node that are removed at the end."""
    classes = json.loads(kubectl("get", "storageclasses", "--output", "json"))["items"]
    made = []
    for name in names:
        claim: Object = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        if not classes:
            volume = f"{namespace}-{name}"
            claim["spec"] |= {"storageClassName": "", "volumeName": volume}
            apply(_volume(volume, claim))
            made.append(volume)
        apply(claim)
    try:
        yield
    finally:
        kubectl("delete", "persistentvolumeclaims", "--namespace", namespace, "--wait=false", *names)
        if made:
            kubectl("delete", "persistentvolumes", "--wait=false", *made)


def _volume(name: str, claim: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "hostPath": {"path": f"/var/tmp/{name}", "type": "DirectoryOrCreate"},
            "claimRef": {key: claim["metadata"][key] for key in ("name", "namespace")} | {"kind": claim["kind"]},
        },
    }


def job(namespace: str, name: str, command: list[str], claim: str, config_map: str | None = None) -> None:
    """Run a command in the runtime's image with a claim at /mnt/claim, and wait until it has succeeded."""
    meta = {"name": name, "namespace": namespace}
    spec = {"backoffLimit": 0, "template": {"spec": _pod(command, claim, config_map)}}
    apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec})
    ended = until(lambda: _conditions(namespace, name) & {"Complete", "Failed"}, f"the end of Job {name}")
    assert ended == {"Complete"}, f"{' '.join(command)} failed"
    kubectl("delete", "job", name, "--namespace", namespace)


def content(namespace: str, claim: str, path: str) -> str:
    """A text file on a claim, by a pod that hands it out."""
    meta = {"name": "reader", "namespace": namespace}
    spec = _pod(["python3", "-m", "http.server", "8080", "--directory", "/mnt/claim"], claim)
    spec["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8080}}
    apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    kubectl("wait", "--for=condition=Ready", "pod/reader", "--namespace", namespace, "--timeout=60s")
    text = kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/reader:8080/proxy/{path}")
    kubectl("delete", "pod", "reader", "--namespace", namespace, "--grace-period=1")
    return text


def _pod(command: list[str], claim: str, config_map: str | None = None) -> Object:
    given = values().get("runtime", {}).get("image", {})
    image = f"{given['repository']}:{given.get('tag', '0.1.0')}" if given else IMAGE
    volumes: list[Object] = [{"name": "claim", "persistentVolumeClaim": {"claimName": claim}}]
    mounts = [{"name": "claim", "mountPath": "/mnt/claim"}]
    if config_map:
        volumes.append({"name": "from", "configMap": {"name": config_map}})
        mounts.append({"name": "from", "mountPath": "/mnt/from"})
    container: Object = {"name": "main", "image": image, "command": command, "volumeMounts": mounts}
    if runs_on_this_host():
        container["env"] = path_variable()
    return {
        "restartPolicy": "Never",
        "securityContext": {"fsGroup": 65532},
        "containers": [container],
        "volumes": volumes,
    }


def _conditions(namespace: str, name: str) -> set[str]:
    found = json.loads(kubectl("get", "job", name, "--namespace", namespace, "--output", "json"))
    return {c["type"] for c in found.get("status", {}).get("conditions", ()) if c["status"] == "True"}


def fill(namespace: str, claim: str, records: int = 400) -> None:
    """Put messages.jsonl with some labelled messages, as many of each label, on a claim."""
    lines = MESSAGES.read_text().splitlines()
    half = records // 2
    text = "\n".join([*lines[:half], *lines[-half:]]) + "\n"
    meta = {"name": "messages", "namespace": namespace}
    apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"messages.jsonl": text}})
    job(namespace, "fill", ["cp", "/mnt/from/messages.jsonl", "/mnt/claim/messages.jsonl"], claim, "messages")
    kubectl("delete", "configmap", "messages", "--namespace", namespace)
    say(f"{records} messages on the claim {claim}")


def model_path() -> str | None:
    """The small model on this host, for clusters whose containers see it."""
    folder = Path(ROOT / ".cache" / "models" / "SmolLM2-135M-Instruct")
    return str(folder) if runs_on_this_host() else None
