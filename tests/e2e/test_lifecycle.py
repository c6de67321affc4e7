"""Failures, changes and deletions on a real API server, with runs that end at once."""

from __future__ import annotations

import json

from e2e.kube import every, find, kubectl, say, scale_operator, until
from e2e.resources import Resource, conditions, failing, kstatus


def test_a_run_that_fails_for_good_is_stalled_with_its_reason(namespace: str) -> None:
    resource = Resource(failing(namespace, "nodata"))
    status = resource.until_phase("Failed")
    assert conditions(status)["Stalled"] == ("True", "InvalidData"), status
    assert conditions(status)["Ready"] == ("False", "InvalidData")
    assert kstatus(resource.stored()) == "Failed"
    assert status["lastFailure"]["exitCode"] == 3
    assert status["failures"] == 1, "an error that stays is not tried again"
    assert {"RoundStarted", "InvalidData", "Failed"} <= set(resource.events())
    say("stalled: " + resource.kubectl("get", "zoft", "nodata", "--output", "wide").splitlines()[-1])

    resource.patch({"data": {"train": {"uri": "/nowhere/else.jsonl"}}})
    until(lambda: len(resource.status()["rounds"]) == 2, "the second round")
    status = resource.until_phase("Failed")
    assert [r["number"] for r in status["rounds"]] == [2, 1]
    until(lambda: len(every("jobs", namespace)) == 1, "the first round's Job gone")
    resource.kubectl("annotate", "zofinetune", "nodata", "zofinetune.io/restart=now")
    until(lambda: len(resource.status()["rounds"]) == 3, "a third round on demand")
    resource.until_phase("Failed")
    say("a change of the data, and the annotation, each began a round")


def test_a_deletion_does_not_wait_for_the_operator(namespace: str) -> None:
    resource = Resource(failing(namespace, "gone", deletionPolicy="Delete", storage={"uri": "/var/tmp/zo-e2e-gone"}))
    resource.until_phase("Failed")
    until(lambda: find("configmap", "zo-gone-cleanup", namespace), "the cleanup's record")
    scale_operator(0)
    try:
        kubectl("delete", "zofinetune", "gone", "--namespace", namespace, "--timeout=20s")
        assert find("zofinetune", "gone", namespace) is None
        say("deleted while there was no operator")
        until(lambda: not every("jobs", namespace), "Kubernetes removing what it owned")
        assert find("configmap", "zo-gone-cleanup", namespace) is not None
    finally:
        scale_operator(1)
    until(lambda: find("configmap", "zo-gone-cleanup", namespace) is None, "the cleanup afterwards")
    say("the operator removed the log when it was back")


def test_a_resource_made_anew_starts_anew(namespace: str) -> None:
    first = Resource(failing(namespace, "again"))
    first.until_phase("Failed")
    uid = first.stored()["metadata"]["uid"]
    kubectl("delete", "zofinetune", "again", "--namespace", namespace, "--timeout=30s")
    second = Resource(failing(namespace, "again"))
    status = second.until_phase("Failed")
    assert second.stored()["metadata"]["uid"] != uid
    assert [r["number"] for r in status["rounds"]] == [1]
    job = status["rounds"][0]["job"]
    until(lambda: [found["metadata"]["name"] for found in every("jobs", namespace)] == [job], "one Job")


def test_what_others_own_stays_theirs(namespace: str) -> None:
    resource = Resource(failing(namespace, "shared"))
    resource.until_phase("Failed")
    assert owners("zofinetune", "shared", namespace) == {("zofinetune", "Apply", "status")}
    (job,) = every("jobs", namespace)
    name = job["metadata"]["name"]
    assert ("zofinetune", "Apply", "") in owners("job", name, namespace)
    resource.kubectl("label", "job", name, "team=ours")
    resource.patch({"ttlSecondsAfterFinished": 7200})
    changed = until(
        lambda: (
            j if (j := find("job", name, namespace)) and j["spec"].get("ttlSecondsAfterFinished") == 7200 else None
        ),
        "the new time to live",
    )
    assert changed["metadata"]["labels"]["team"] == "ours"
    say("the operator owns the status and what it states of its children, and nothing else")


def owners(kind: str, name: str, namespace: str) -> set[tuple[str, str, str]]:
    """Manager, operation and subresource of whoever owns fields of an object, kubectl aside."""
    shown = kubectl("get", kind, name, "--namespace", namespace, "--show-managed-fields", "--output", "json")
    entries = json.loads(shown)["metadata"]["managedFields"]
    found = {(entry["manager"], entry["operation"], entry.get("subresource", "")) for entry in entries}
    return {owner for owner in found if not owner[0].startswith("kubectl")}


def test_what_cannot_be_scheduled_says_so(namespace: str) -> None:
    resource = Resource(failing(namespace, "huge", runtime={"resources": {"limits": {"nvidia.com/gpu": 9999}}}))
    status = until(
        lambda: s if conditions(s := resource.status()).get("Ready", ("", ""))[1] == "Unschedulable" else None,
        "the scheduler's word",
    )
    assert conditions(status)["Ready"][0] == "Unknown"
    resource.patch({"suspend": True})
    resource.until_phase("Suspended")
    say("unschedulable, and suspended all the same")
