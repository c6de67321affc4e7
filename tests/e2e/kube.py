"""The cluster under test, by the real kubectl and helm: whatever `KUBECONFIG` points to."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from tools.chart import CHART, ROOT
from tools.helm import binary

T = TypeVar("T")
Object = dict[str, Any]

SYSTEM = "zo-e2e-system"
RELEASE = "zo-e2e"
DEPLOYMENT = f"{RELEASE}-zofinetune"
CRD = "zofinetunes.zofinetune.io"
OPERATOR = "app.kubernetes.io/component=operator"
# Longer than any step here takes on two busy cores, short enough to end.
PATIENCE = 300.0


class Failed(AssertionError):
    """A command that should have succeeded."""


def say(text: str) -> None:
    """One line of progress."""
    print(f"  {time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def answer(name: str, *arguments: str) -> str:
    """What a command prints, whether or not it counts that as success."""
    command = [str(binary(name)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False).stdout


def run(name: str, *arguments: str, text: str | None = None, ok: bool = True) -> str:
    """Run helm or kubectl; its output, or with `ok=False` whatever it said when it was refused."""
    command = [str(binary(name)), *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE + 60, check=False)
    if ok and done.returncode:
        raise Failed(f"{name} {' '.join(arguments)}\n{done.stderr or done.stdout}")
    if not ok and not done.returncode:
        raise Failed(f"{name} {' '.join(arguments)} was not refused\n{done.stdout}")
    return done.stdout if ok else done.stderr


def kubectl(*arguments: str, text: str | None = None, ok: bool = True) -> str:
    """Run kubectl."""
    return run("kubectl", *arguments, text=text, ok=ok)


def apply(*objects: Object) -> None:
    """Apply objects as a user does."""
    kubectl("apply", "--filename", "-", text=yaml.safe_dump_all(objects))


def find(kind: str, name: str, namespace: str) -> Object | None:
    """One object, if it is there."""
    text = kubectl("get", kind, name, "--namespace", namespace, "--ignore-not-found", "--output", "json")
    return json.loads(text) if text.strip() else None


def every(kind: str, namespace: str, selector: str = "") -> list[Object]:
    """All objects of a kind in a namespace."""
    text = kubectl("get", kind, "--namespace", namespace, "--selector", selector, "--output", "json")
    return list(json.loads(text)["items"])


def until(check: Callable[[], T | None], what: str | Callable[[], str], seconds: float = PATIENCE) -> T:
    """Wait for something to be true, and return it; `what` says at the end what did not come."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {what if isinstance(what, str) else what()}")
        time.sleep(1)
    return found


@functools.cache
def runs_on_this_host() -> bool:
    """Whether the nodes have no container runtime, and run the commands of containers as processes of this host."""
    nodes = json.loads(kubectl("get", "nodes", "--output", "json"))["items"]
    return not any(node["status"].get("nodeInfo", {}).get("containerRuntimeVersion") for node in nodes)


@functools.cache
def path_variable() -> list[Object]:
    """Where such processes find the commands of this project: in the environment that runs these tests."""
    return [{"name": "PATH", "value": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}]


def run_variables() -> list[Object]:
    """What runs need where there is no DNS that knows their names."""
    loopback = {"VLLM_HOST_IP": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "HF_HUB_OFFLINE": "1"}
    return [*path_variable(), *({"name": name, "value": value} for name, value in loopback.items())]


def values() -> Object:
    """Values of the chart for this cluster; `ZO_E2E_VALUES` names a file with further ones, such as images."""
    given = os.environ.get("ZO_E2E_VALUES")
    found: Object = yaml.safe_load(Path(given).read_text()) if given else {}
    env = [{"name": "ZO_OPERATOR_POLL_SECONDS", "value": "2"}, *(path_variable() if runs_on_this_host() else ())]
    return {**found, "env": [*env, *found.get("env", ())], "operator": {"logFormat": "text"}}


def helm(verb: str, *arguments: str, chart: Path = CHART) -> str:
    """Install or upgrade the release, or whatever else helm does with it."""
    if verb != "uninstall":
        arguments += ("--create-namespace",)
    return helm_release(verb, RELEASE, SYSTEM, *arguments, chart=chart)


def helm_release(verb: str, release: str, namespace: str, *arguments: str, chart: Path = CHART) -> str:
    """The same for any release."""
    common = (verb, release, *arguments, "--namespace", namespace)
    if verb == "uninstall":
        return run("helm", *common, "--wait")
    return run("helm", *common, str(chart), "--values", "-", text=json.dumps(values()))


def operator_is_ready(deployment: str = DEPLOYMENT, namespace: str = SYSTEM) -> None:
    """Wait for an operator's rollout."""
    kubectl("--namespace", namespace, "rollout", "status", f"deployment/{deployment}", f"--timeout={PATIENCE:.0f}s")


def scale_operator(replicas: int) -> None:
    """Switch the operator off and on."""
    kubectl("--namespace", SYSTEM, "scale", f"deployment/{DEPLOYMENT}", f"--replicas={replicas}")
    if replicas:
        operator_is_ready()
    until(lambda: len(every("pods", SYSTEM, OPERATOR)) == replicas, f"{replicas} operators")


def proxied(pod: Object, port: int, path: str) -> str:
    """What a pod answers on a port, through the API server."""
    meta = pod["metadata"]
    return kubectl("get", "--raw", f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}:{port}/proxy/{path}")


def example(name: str) -> Object:
    """One of the project's examples."""
    return dict(yaml.safe_load((ROOT / "examples" / f"{name}.yaml").read_text()))
