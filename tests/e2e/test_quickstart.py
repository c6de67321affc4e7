"""The product as a user meets it: the quickstart from `kubectl apply` to nothing left, with blows on the way."""

from __future__ import annotations

import json
import secrets

import yaml

from e2e.claims import claims, fill, job
from e2e.kube import (
    DEPLOYMENT,
    OPERATOR,
    SYSTEM,
    Object,
    every,
    find,
    kubectl,
    operator_is_ready,
    proxied,
    say,
    until,
)
from e2e.resources import PATCH, Resource, conditions, kstatus, quickstart

STEPS = 40
# A claim may still have what an earlier test that was cut short left on it.
NAME = f"quickstart-{secrets.token_hex(4)}"
# Where the log lies for the Jobs that look at it afterwards.
IN_CLAIM = f"/mnt/claim/{NAME}"


def test_the_quickstart_through_its_life(namespace: str) -> None:
    with claims(namespace, "quickstart-data", "quickstart-log"):
        fill(namespace, "quickstart-data")
        resource = Resource(
            quickstart(
                namespace,
                yaml.safe_load(PATCH.read_text()),
                data={"heldOut": {"examples": 32}},
                optimizer={"steps": STEPS},
                evaluation={"every": STEPS // 2},
                storage={"uri": f"/mnt/log/{NAME}", "flush": {"everySteps": 5}},
                ttlSecondsAfterFinished=3600,
            )
        )
        say("applied")
        watch_it_start(resource)
        lose_the_pod_and_the_operator(resource)
        suspend_and_resume(resource)
        finish(resource)
        stay_at_rest(resource)
        delete_with_the_log(resource)


def watch_it_start(resource: Resource) -> None:
    until(lambda: resource.status().get("phase"), "the first status")
    assert kstatus(resource.stored()) == "InProgress"
    status = resource.until_step(1)
    assert conditions(status)["Ready"] == ("Unknown", "Running")
    assert conditions(status)["Reconciling"] == ("True", "Running")
    (pod,) = resource.pods()
    metrics = proxied(pod, 9464, "metrics")
    assert "zo_step " in metrics or "zo_loss" in metrics
    (operator,) = every("pods", SYSTEM, OPERATOR)
    labels = f'{{name="{resource.name}",namespace="{resource.namespace}",phase="Running"}}'
    assert f"zo_resource_phase{labels} 1.0" in proxied(operator, 9090, "metrics")
    row = resource.kubectl("get", "zoft", resource.name)
    assert {"PHASE", "STEP", "LOSS", "PROGRESS"} <= set(row.split())
    say(f"running: step {status['step']} of {STEPS}, loss {status.get('loss')}")


def lose_the_pod_and_the_operator(resource: Resource) -> None:
    resource.until_step(6)
    (pod,) = resource.pods()
    (operator,) = every("pods", SYSTEM, OPERATOR)
    durable = resource.status()["flushedStep"]
    at_once = ("--grace-period=0", "--force")
    kubectl("delete", "pod", operator["metadata"]["name"], "--namespace", SYSTEM, *at_once)
    resource.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=1")
    say(f"killed the pod and the operator; {durable} steps were in the log")

    def next_pod() -> Object | None:
        return next((found for found in resource.pods() if ready(found) and not same(found, pod)), None)

    successor = until(next_pod, "another pod")
    step = until(lambda: at if (at := progress(successor).get("step", 0)) > durable else None, "its first step")
    operator_is_ready()
    status = resource.until_step(step)
    assert [found["number"] for found in status["rounds"]] == [1]
    assert len(every("jobs", resource.namespace)) == 1
    say(f"another pod of the same Job went on, another operator tells of it: step {status['step']}")


def same(one: Object, other: Object) -> bool:
    return bool(one["metadata"]["uid"] == other["metadata"]["uid"])


def ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def progress(pod: Object) -> Object:
    return dict(json.loads(proxied(pod, 9464, "progress")))


def suspend_and_resume(resource: Resource) -> None:
    resource.patch({"suspend": True})
    status = resource.until_phase("Suspended")
    assert conditions(status)["Suspended"] == ("True", "Suspended")
    assert resource.pods() == []
    reached = status["step"]
    assert 0 < reached < STEPS, "the run was over before it could be suspended"
    resource.patch({"suspend": False})
    resource.until_phase("Running")
    until(
        lambda: any(ready(pod) and progress(pod).get("step", 0) > reached for pod in resource.pods()), "a next step"
    )
    status = resource.status()
    assert status["rounds"][0]["number"] == 1
    say(f"suspended after step {reached}, and resumed")


def finish(resource: Resource) -> None:
    resource.kubectl("wait", "--for=condition=Ready", f"zofinetune/{resource.name}", "--timeout=600s")
    status = resource.until_phase("Succeeded")
    assert kstatus(resource.stored()) == "Current"
    said = conditions(status)
    assert (said["Ready"][0], said["Complete"][0], said["Reconciling"][0], said["Stalled"][0]) == (
        "True",
        "True",
        "False",
        "False",
    )
    assert (status["step"], status["progress"]) == (STEPS, "100%"), status
    assert status["version"] >= 2 and status["accuracyAfter"] is not None and status["completionTime"]
    say(f"ready: accuracy {status.get('accuracyBefore')} to {status['accuracyAfter']}, version {status['version']}")
    verify = ["sh", "-c", f"zo verify {IN_CLAIM} | grep 'digest {status['digest']}'"]
    job(resource.namespace, "verify", verify, "quickstart-log")
    say(f"the log is sound, and its digest is the status's: {status['digest'][:16]}")
    events = resource.events()
    assert [reason for reason in events if reason in ("RoundStarted", "Suspended", "Resumed", "Completed")] == [
        "RoundStarted",
        "Suspended",
        "Resumed",
        "Completed",
    ]


def stay_at_rest(resource: Resource) -> None:
    """Nothing is written about a resource that has nothing left to do."""
    (running,) = every("pods", SYSTEM, OPERATOR)
    before = versions(resource)
    kubectl("--namespace", SYSTEM, "rollout", "restart", f"deployment/{DEPLOYMENT}")
    operator_is_ready()
    until(lambda: running["metadata"]["name"] not in names_of_operators(), "another operator")
    until(lambda: "zo_operator_active 1.0" in metrics_of_operator(), "the operator at work")
    assert versions(resource) == before
    say("a new operator looked at everything and wrote nothing")


def names_of_operators() -> set[str]:
    return {pod["metadata"]["name"] for pod in every("pods", SYSTEM, OPERATOR)}


def metrics_of_operator() -> str:
    return proxied(every("pods", SYSTEM, OPERATOR)[0], 9090, "metrics")


def versions(resource: Resource) -> dict[str, str]:
    found = [resource.stored(), *every("jobs,configmaps,services", resource.namespace)]
    return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"] for item in found}


def delete_with_the_log(resource: Resource) -> None:
    resource.patch({"deletionPolicy": "Delete"})
    record = f"zo-{resource.name}-cleanup"
    until(lambda: find("configmap", record, resource.namespace), "the cleanup's record")
    resource.kubectl("delete", "zofinetune", resource.name, "--timeout=30s")
    until(lambda: not find("configmap", record, resource.namespace), "the end of the cleanup")
    job(resource.namespace, "look", ["sh", "-c", f"! ls {IN_CLAIM}/run.json"], "quickstart-log")
    say("deleted, and the log with it")
