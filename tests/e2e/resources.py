"""`ZOFineTune`s of the tests, and how their status is read."""

from __future__ import annotations

import copy
import json
from typing import Any

from tools.chart import ROOT

from e2e.claims import model_path
from e2e.kube import Object, apply, every, example, find, kubectl, run_variables, runs_on_this_host, until

PATCH = ROOT / "examples" / "patches" / "quickstart-on-claims.yaml"
TERMINAL = ("Succeeded", "Failed")


def merged(base: Any, patch: Any) -> Any:
    """A JSON merge patch."""
    if not isinstance(patch, dict):
        return patch
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def quickstart(namespace: str, patch: Object, **spec: Any) -> Object:
    """The quickstart with the example's patch for clusters, and what this cluster and this test need."""
    here: Object = {}
    if runs_on_this_host():
        here = {"model": {"name": model_path()}, "runtime": {"env": run_variables()}}
    body = merged(example("quickstart"), patch)
    body = merged(body, {"metadata": {"namespace": namespace}, "spec": merged(here, spec)})
    return dict(body)


def failing(namespace: str, name: str, **spec: Any) -> Object:
    """A resource whose pods end at once: there is no such data."""
    body = quickstart(namespace, {}, **merged({"data": {"train": {"uri": "/nowhere/train.jsonl"}}}, spec))
    body["metadata"]["name"] = name
    return body


class Resource:
    """A `ZOFineTune` on the cluster."""

    def __init__(self, body: Object) -> None:
        self.body = copy.deepcopy(body)
        self.name, self.namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        apply(body)

    def stored(self) -> Object:
        """The object as the API server has it."""
        found = find("zofinetune", self.name, self.namespace)
        assert found is not None, f"{self.name} is gone"
        return found

    def status(self) -> Object:
        """Its status."""
        return dict(self.stored().get("status") or {})

    def patch(self, spec: Object) -> None:
        """Change the spec as a user does."""
        self.kubectl("patch", "zofinetune", self.name, "--type=merge", "--patch", json.dumps({"spec": spec}))

    def kubectl(self, *arguments: str) -> str:
        """kubectl in its namespace."""
        return kubectl("--namespace", self.namespace, *arguments)

    def until_phase(self, *phases: str) -> Object:
        """Wait for a phase that speaks of the latest spec, and return the status."""

        def reached() -> Object | None:
            found = self.stored()
            status = dict(found.get("status") or {})
            current = status.get("observedGeneration") == found["metadata"]["generation"]
            return status if current and status.get("phase") in phases else None

        return until(reached, lambda: f"{self.name} in phase {' or '.join(phases)}; its status is {self.status()}")

    def until_step(self, step: int) -> Object:
        """Wait until the status shows a step while the pod runs."""

        def reached() -> Object | None:
            status = self.status()
            assert status.get("phase") not in TERMINAL, status
            return status if status.get("phase") == "Running" and status.get("step", 0) >= step else None

        return until(reached, f"{self.name} at step {step}")

    def pods(self, phase: str = "Running") -> list[Object]:
        """Its pods in a phase."""
        mine = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component=runtime"
        return [pod for pod in every("pods", self.namespace, mine) if pod["status"].get("phase") == phase]

    def events(self) -> list[str]:
        """Reasons of its events, oldest first."""
        found = [e for e in every("events", self.namespace) if e["involvedObject"]["name"] == self.name]
        return [e["reason"] for e in sorted(found, key=lambda e: int(e["metadata"]["resourceVersion"]))]


def conditions(status: Object) -> dict[str, tuple[str, str]]:
    """Status and reason by type."""
    return {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions", ())}


def kstatus(found: Object) -> str:
    """What a tool that follows kstatus makes of an object: its rules, in its order."""
    if "deletionTimestamp" in found["metadata"]:
        return "Terminating"
    status = found.get("status") or {}
    if status.get("observedGeneration", found["metadata"]["generation"]) != found["metadata"]["generation"]:
        return "InProgress"
    said = {kind: state for kind, (state, _) in conditions(status).items()}
    if said.get("Reconciling") == "True":
        return "InProgress"
    if said.get("Stalled") == "True":
        return "Failed"
    return {"False": "InProgress", "Unknown": "InProgress"}.get(said.get("Ready", "True"), "Current")
