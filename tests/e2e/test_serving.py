"""From a finished round to an answer of the adapted model: a Deployment of stock vLLM beside the operator."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from typing import Any

import yaml
from tools.chart import ROOT

from e2e.claims import IMAGE, claims, content, fill, model_path
from e2e.kube import Object, apply, every, find, kubectl, run_variables, runs_on_this_host, say, until, values
from e2e.resources import PATCH, Resource, conditions, quickstart
from zo_operator.cluster.client import Client
from zo_operator.cluster.configuration import configuration
from zo_operator.cluster.kinds import POD
from zo_operator.settings import Settings

STEPS = 8
NAME = f"serving-{secrets.token_hex(4)}"
APP = "e2e-vllm"


def test_a_replica_serves_what_was_learned(namespace: str) -> None:
    with claims(namespace, "quickstart-data", "quickstart-log"):
        fill(namespace, "quickstart-data")
        resource = Resource(
            quickstart(
                namespace,
                yaml.safe_load(PATCH.read_text()),
                data={"heldOut": {"examples": 16}},
                optimizer={"steps": STEPS},
                evaluation={"every": STEPS // 2},
                storage={"uri": f"/mnt/log/{NAME}"},
                serving={"selector": {"app": APP}, "modelName": "messages"},
            )
        )
        state = f"{resource.name}-serving"
        version = to_serve(resource)
        until(lambda: find("configmap", state, namespace), "the desired state")
        until(lambda: conditions(resource.status())["Served"][1] == "NoReplicas", "the word that no pod matches")
        apply(replica(namespace, state))
        try:
            serve(resource, version["version"], resource.status()["digest"])
            go_back(resource, version)
        finally:
            kubectl("delete", "deployment", APP, "--namespace", namespace, "--ignore-not-found")
            until(lambda: not every("pods", namespace, f"app={APP}"), "the end of the replica")


def to_serve(resource: Resource) -> Object:
    """The version that the round has published. A run names it in its termination message; a node that runs processes
    of this host may hand on none, and then somebody names it by hand."""
    ended = until(
        lambda: ended if (ended := resource.status().get("rounds", [{}])[0]).get("outcome") else None, "an end"
    )
    assert ended["outcome"] == "Completed", ended
    target = {"version": ended["version"], "sha256": ended.get("versionSHA256")}
    if target["sha256"] is None:
        assert runs_on_this_host(), "the run's result is lost"
        text = content(resource.namespace, "quickstart-log", f"{NAME}/versions/{target['version']}.json")
        target["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        resource.patch({"serving": {"target": target}})
        say("this node hands on no termination messages: the version is named by hand")
    return target


def serve(resource: Resource, version: int, digest: str) -> None:
    """The replica converges by itself, the status tells of it, and clients get the adapter under its name."""
    status = until(
        lambda: served(resource, version), lambda: f"version {version}: {resource.status().get('serving')}"
    )
    assert status["digest"] == digest
    answer = complete(resource.namespace, "messages")
    assert answer["model"].startswith(f"messages@v{version}-"), answer
    assert conditions(resource.status())["Served"] == ("True", "AllReplicas")
    say(f"version {version} is served: {answer['choices'][0]['text']!r}")


def go_back(resource: Resource, version: Object) -> None:
    """A rollback to a step in the middle of the run, through the spec."""
    resource.patch({"serving": {"target": {**version, "step": STEPS - 1}}})
    if runs_on_this_host():  # such a node does not refresh the ConfigMaps of running pods: a restarted pod reads it
        until(lambda: '"step"' in desired(resource), "the rollback in the desired state")
        kubectl("delete", "pods", "--selector", f"app={APP}", "--namespace", resource.namespace)
    number = version["version"]
    until(lambda: served(resource, number, STEPS - 1), lambda: f"the rollback: {resource.status().get('serving')}")
    answer = complete(resource.namespace, "messages")
    assert answer["model"].startswith(f"messages@v{number}.{STEPS - 1}-"), answer
    say(f"rolled back to step {STEPS - 1}")


def served(resource: Resource, version: int, step: int = STEPS) -> Object | None:
    """The replica's row in the status, once it serves that."""
    serving = resource.status().get("serving", {})
    if serving.get("replicas") != 1 or serving.get("updated") != 1:
        return None
    (row,) = serving["pods"]
    return row if (row.get("version"), row.get("step")) == (version, step) else None


def desired(resource: Resource) -> str:
    """The content of the ConfigMap that replicas mount."""
    found = find("configmap", f"{resource.name}-serving", resource.namespace)
    return json.dumps(found["data"]).replace('\\"', '"') if found else ""


def complete(namespace: str, model: str) -> Any:
    """A completion, through the API server's proxy."""
    (pod,) = every("pods", namespace, f"app={APP}")
    path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}:8000/proxy/v1/completions"
    body = {"model": model, "prompt": "What a lovely day. It was", "max_tokens": 4, "temperature": 0}

    async def ask() -> Object:
        # `kubectl create --raw` names no content type, and vLLM takes nothing without one.
        async with Client(configuration, Settings()) as client:
            return await client._request("POST", POD, path, body)

    return asyncio.run(ask())


def replica(namespace: str, state: str) -> Object:
    """The example's Deployment for this cluster: one replica on CPU, the log on its claim, no API key."""
    text = (ROOT / "examples" / "serving" / "vllm-deployment.yaml").read_text()
    body: Object = next(document for document in yaml.safe_load_all(text) if document["kind"] == "Deployment")
    body["metadata"] |= {"name": APP, "namespace": namespace}
    spec = body["spec"]
    labels = {"app": APP}
    spec["replicas"], spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"] = 1, labels, labels
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    given = values().get("runtime", {}).get("image", {})
    container["image"] = f"{given['repository']}:{given.get('tag', '0.1.0')}" if given else IMAGE
    model, served_as, *options = container["command"][2:]
    container["command"] = [
        *("python3", "-m", "vllm.entrypoints.openai.api_server", "--model", model_path() or model, served_as),
        *("--max-model-len", "256", "--kv-cache-memory-bytes", str(2**27), *options),
    ]
    secret = ("VLLM_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    container["env"] = [entry for entry in container["env"] if entry["name"] not in secret]
    container["env"] += run_variables() if runs_on_this_host() else []
    del container["resources"]
    container["volumeMounts"].append({"name": "log", "mountPath": "/mnt/log", "readOnly": True})
    for volume in pod["volumes"]:
        if volume["name"] == "desired-state":
            volume["configMap"]["name"] = state
    pod["volumes"].append({"name": "log", "persistentVolumeClaim": {"claimName": "quickstart-log"}})
    return body
