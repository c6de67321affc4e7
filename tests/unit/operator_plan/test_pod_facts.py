"""What pods say: leaders, waits, failures, results."""

import pytest

from zo_operator import names
from zo_operator.reconcile import pods
from zo_runtime.progress import Result


def pod(name="p", phase="Running", index="0", ended=None, **status):
    states = [{"name": "runtime", "state": {"terminated": ended}}] if ended else []
    return {
        "metadata": {"name": name, "uid": name, "labels": {names.LABEL_JOB: "j", names.LABEL_INDEX: index}},
        "status": {"phase": phase, "containerStatuses": states} | status,
    }


def test_the_leader_is_the_newest_pod_of_index_0():
    old, new = pod("a"), pod("b")
    old["metadata"]["creationTimestamp"], new["metadata"]["creationTimestamp"] = (
        "2026-01-01T00:00:00Z",
        "2026-01-02T00:00:00Z",
    )
    follower = pod("c", index="1")
    follower["metadata"]["creationTimestamp"] = "2026-01-03T00:00:00Z"
    assert pods.leader(pods.of_job([new, follower, old], "j"))["metadata"]["name"] == "b"
    assert pods.leader([follower]) is None
    assert pods.of_job([new], "another") == []


@pytest.mark.parametrize(
    ("found", "url"),
    [
        (pod(podIP="10.0.0.1"), "http://10.0.0.1:9464/progress"),
        (pod(podIP="fd00::5"), "http://[fd00::5]:9464/progress"),
        (pod(), None),
        (pod(phase="Pending", podIP="10.0.0.1"), None),
        (None, None),
    ],
)
def test_where_to_ask(found, url):
    leader = pods.address(found, 9464)
    assert (leader and leader.url) == url
    assert pods.address(found, 0) is None


def test_a_pod_that_is_being_stopped_is_not_asked():
    stopping = pod(podIP="10.0.0.1")
    stopping["metadata"]["deletionTimestamp"] = "x"
    assert not pods.running(stopping)
    assert pods.address(stopping, 9464) is None


NO_ROWS = Result(ok=False, reason="InvalidData", message="no rows")
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"conditions": [UNSCHEDULABLE]}, "Unschedulable"),
        ({"conditions": [{**UNSCHEDULABLE, "reason": "SchedulingGated"}]}, None),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "x"}}}]},
            "ImagePullBackOff",
        ),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, None),
        ({"initContainerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}, "CrashLoopBackOff"),
        ({}, None),
    ],
)
def test_why_a_pod_waits(status, reason):
    found = pods.waiting([pod(phase="Pending", **status)])
    assert (found and found.reason) == reason
    assert pods.waiting([pod(phase="Running", **status)]) is None


@pytest.mark.parametrize(
    ("ended", "reason", "message"),
    [
        ({"exitCode": 3, "reason": "Error", "message": NO_ROWS.to_termination_message()},
         "InvalidData", "no rows"),
        ({"exitCode": 5, "reason": "Error"}, "StorageUnavailable",
         "the container exited with code 5: Object storage, or the local disk, refused or failed an operation."),
        ({"exitCode": 137, "reason": "OOMKilled"}, "OOMKilled", "the container exited with code 137"),
        ({"exitCode": 1, "reason": "Error", "message": "line\n\nValueError: x\n\n"}, "Error", "ValueError: x"),
        ({"exitCode": 1, "reason": "Error", "message": "x" * 5000}, "Error", "x" * 1021 + "..."),
        ({"exitCode": 128, "reason": "StartError", "message": "no such file"}, "StartError", "no such file"),
    ],
)  # fmt: skip
def test_how_a_pod_failed(ended, reason, message):
    failure = pods.last_failure([pod(phase="Failed", ended=ended)])
    assert (failure.reason, failure.message, failure.exit_code) == (reason, message, ended["exitCode"])


def test_an_evicted_pod_has_no_container_to_ask():
    failure = pods.last_failure([pod(phase="Failed", reason="Evicted", message="The node was low on memory")])
    assert (failure.reason, failure.message) == ("Evicted", "The node was low on memory")
    assert failure.exit_code is None


def test_the_last_failure_is_the_latest():
    early = pod("a", "Failed", ended={"exitCode": 5, "finishedAt": "2026-01-01T00:00:00Z"})
    late = pod("b", "Failed", ended={"exitCode": 10, "finishedAt": "2026-01-01T00:00:01Z"})
    assert pods.last_failure([late, early]).pod == "b"
    assert pods.last_failure([pod()]) is None


def test_the_result_comes_from_the_leader_and_may_follow_other_output():
    done = Result(ok=True, reason="Completed", steps=5)
    other = Result(ok=True, reason="Completed", steps=4)
    lead = pod("a", "Succeeded", ended={"exitCode": 0, "message": "log line\n" + done.to_termination_message()})
    follow = pod("b", "Succeeded", "1", ended={"exitCode": 0, "message": other.to_termination_message()})
    assert pods.final_result([lead, follow]).steps == 5
    assert pods.final_result([follow]).steps == 4
    assert pods.final_result([pod(phase="Succeeded", ended={"exitCode": 0, "message": "{}"})]) is None
