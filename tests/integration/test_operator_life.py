"""The whole life of a resource, with the real kopf operator against a fake API server."""

import asyncio

import pytest

from fakes.world import World, manifest, world
from zo_runtime.errors import by_exit_code
from zo_runtime.progress import Progress, Result

TRAINING = Progress(
    phase="Training", step=40, total_steps=100, loss=0.612, accuracy=0.6, accuracy_before=0.5, eta_seconds=60.0,
    flushed_step=30, version=1, digest="d" * 8,
)  # fmt: skip
DONE = Result(
    ok=True, reason="Completed", steps=100, seconds=12.5, accuracy_before=0.5, accuracy_after=0.75,
    loss_before=0.7, loss_after=0.5, version=2, digest="e" * 8,
)  # fmt: skip


async def running(w: World, name: str = "sst2") -> dict:
    """Bring a new resource to step 40; return its pod."""
    pod = await w.pod(name=name)
    w.workloads.start(pod, TRAINING)
    await w.until(lambda: w.status(name).get("step") == 40, "step 40")
    return pod


def test_from_create_to_success_and_deletion():
    async def life():
        async with world() as w:
            w.kube.put(manifest())
            pod = await w.pod()
            await w.phase("Pending")
            assert w.condition("Ready") == ("Unknown", "Pending")
            assert w.condition("Reconciling")[0] == "True"
            w.workloads.start(pod)
            await w.phase("Running")
            w.workloads.report(pod, TRAINING)
            await w.until(lambda: w.status().get("step") == 40)
            status = w.status()
            assert status["progress"] == "40%"
            assert status["stage"] == "Training"
            assert status["accuracyBefore"] == 0.5
            assert status["version"] == 1
            assert status["estimatedCompletionTime"] > status["startTime"]
            w.workloads.finish(pod, DONE)
            await w.phase("Succeeded")
            assert w.condition("Ready") == ("True", "Completed")
            assert w.condition("Complete") == ("True", "Completed")
            assert w.condition("Reconciling")[0] == w.condition("Stalled")[0] == "False"
            status = w.status()
            assert status["accuracyAfter"] == 0.75
            assert status["digest"] == "e" * 8
            assert status["rounds"][0]["outcome"] == "Completed"
            assert status["completionTime"]
            assert not {"stage", "estimatedCompletionTime"} & set(status)
            assert await w.quiet() == 0
            w.kube.discard("zofinetunes", "sst2")
            await w.until(lambda: not w.workloads.pods() and not w.kube.store.all("jobs"))
            assert not w.kube.store.all("configmaps")
            assert not w.kube.store.all("services")
            assert [reason for _, reason in w.events()] == [
                "RoundStarted", "Running", "VersionPublished", "VersionPublished", "Completed"
            ]  # fmt: skip

    asyncio.run(life())


def test_each_error_of_the_runtime_ends_as_its_table_says():
    """Final errors end the round with the first pod; the others after the retries that the spec allows."""
    codes = by_exit_code()

    async def life():
        async with world() as w:
            for code in codes:
                w.kube.put(manifest(f"code-{code}", backoffLimit=1))
            for code, error in codes.items():
                name = f"code-{code}"
                for attempt in (1, 2) if error.retryable else (1,):
                    pod = await w.pod(attempt, name)
                    w.workloads.start(pod)
                    w.workloads.fail(pod, code, f"the error of {code}")
                await w.phase("Failed", name)
                assert w.condition("Stalled", name) == ("True", error.reason)
                assert w.condition("Ready", name) == ("False", error.reason)
                status = w.status(name)
                assert status["conditions"][0]["message"].startswith(f"the error of {code}")
                assert status["rounds"][0]["outcome"] == "Failed"
                assert status["lastFailure"]["exitCode"] == code
                assert status["failures"] == (2 if error.retryable else 1)
            assert await w.quiet() == 0
            told = {event["message"] for event in w.kube.store.all("events") if event["type"] == "Warning"}
            assert all(any(f"the error of {code}" in message for message in told) for code in codes)

    asyncio.run(life())


def test_failures_that_no_runtime_reports():
    async def life():
        async with world() as w:
            for name in ("oom", "log-tail", "silent"):
                w.kube.put(manifest(name, backoffLimit=0))
            w.workloads.finish(await w.pod(name="oom"), None, 137, "OOMKilled")
            w.workloads.finish(await w.pod(name="log-tail"), "Traceback ...\nValueError: no luck", 1)
            w.workloads.finish(await w.pod(name="silent"), None, 5)
            for name in ("oom", "log-tail", "silent"):
                await w.phase("Failed", name)
            assert w.condition("Stalled", "oom") == ("True", "OOMKilled")
            assert w.status("log-tail")["rounds"][0]["message"] == "ValueError: no luck"
            assert w.condition("Stalled", "silent") == ("True", "StorageUnavailable")

    asyncio.run(life())


def test_a_retry_keeps_progress_and_evictions_do_not_count():
    async def life():
        async with world() as w:
            w.kube.put(manifest(backoffLimit=1))
            pod = await running(w)
            w.workloads.evict(pod)
            second = await w.pod(2)
            w.workloads.start(second)
            await w.until(lambda: w.status().get("stage") == "Loading")
            assert w.status()["step"] == 40, "a loading pod knows no step, and the log has 40"
            assert "failures" not in w.status()
            w.workloads.fail(second, 5, "bucket unreachable")
            third = await w.pod(3)
            await w.until(lambda: w.status().get("failures") == 1)
            # The Job and its pod are watched apart: either may be seen first.
            await w.until(lambda: w.status()["lastFailure"]["message"] == "bucket unreachable")
            assert w.condition("Reconciling") == ("True", "StorageUnavailable")
            w.workloads.start(third, TRAINING)
            w.workloads.finish(third, DONE)
            await w.phase("Succeeded")
            assert ("Warning", "StorageUnavailable") in w.events()

    asyncio.run(life())


def test_suspend_and_resume():
    async def life():
        async with world() as w:
            w.kube.put(manifest())
            await running(w)
            w.workloads.hold_termination = True
            w.kube.edit("zofinetunes", "sst2", {"spec": {"suspend": True}})
            await w.phase("Stopping")
            assert w.condition("Suspended")[0] == "True"
            w.workloads.hold_termination = False
            await w.phase("Suspended")
            assert w.condition("Ready") == ("False", "Suspended")
            assert w.condition("Reconciling")[0] == "False"
            assert w.status()["step"] == 40
            assert not w.workloads.pods()
            assert w.job() is not None
            assert await w.quiet() == 0
            w.kube.edit("zofinetunes", "sst2", {"spec": {"suspend": False}})
            pod = await w.pod()
            assert w.status()["rounds"][0]["number"] == 1
            w.workloads.start(pod, TRAINING)
            w.workloads.finish(pod, DONE)
            await w.phase("Succeeded")
            assert {"Suspended", "Resumed"} <= {reason for _, reason in w.events()}

    asyncio.run(life())


def test_created_suspended_starts_nothing_until_resumed():
    async def life():
        async with world() as w:
            w.kube.put(manifest(suspend=True))
            await w.phase("Suspended")
            assert not w.kube.store.all("jobs")
            w.kube.edit("zofinetunes", "sst2", {"spec": {"suspend": False}})
            await w.pod()

    asyncio.run(life())


def test_a_change_of_what_is_learned_begins_a_round_after_the_old_pods_are_gone():
    async def life():
        async with world() as w:
            w.kube.put(manifest())
            await running(w)
            first = w.job()["metadata"]["name"]
            w.workloads.hold_termination = True
            w.kube.edit("zofinetunes", "sst2", {"spec": {"data": {"maxExamples": 50}}})
            await w.phase("Stopping")
            assert w.condition("Reconciling") == ("True", "StoppingPreviousPods")
            assert w.job() is None, "two writers at one log"
            w.workloads.hold_termination = False
            pod = await w.pod()
            rounds = w.status()["rounds"]
            assert [r["number"] for r in rounds] == [2, 1]
            assert rounds[1]["outcome"] == "Superseded"
            assert rounds[1]["steps"] == 40
            assert w.kube.find("jobs", first) is None
            await w.until(lambda: len(w.kube.store.all("configmaps")) == 1)
            w.workloads.start(pod, TRAINING)
            w.workloads.finish(pod, DONE)
            await w.phase("Succeeded")

    asyncio.run(life())


def test_a_change_of_the_pods():
    """An unfinished round gets other pods, a completed one is left alone, a failed one is tried again."""

    async def life():
        async with world() as w:
            w.kube.put(manifest())
            await running(w)
            first = w.job()["metadata"]["uid"]
            w.kube.edit("zofinetunes", "sst2", {"spec": {"runtime": {"nodeSelector": {"gpu": "big"}}}})
            await w.until(lambda: (job := w.job()) and job["metadata"]["uid"] != first, "another Job")
            assert w.status()["rounds"][0]["number"] == 1
            pod = await w.pod()
            assert pod["spec"]["nodeSelector"] == {"gpu": "big"}
            w.workloads.fail(pod, 3)
            await w.phase("Failed")
            w.kube.edit("zofinetunes", "sst2", {"spec": {"runtime": {"nodeSelector": {"gpu": "bigger"}}}})
            await w.until(lambda: w.status()["rounds"][0]["number"] == 2)
            w.workloads.finish(await w.pod(), DONE)
            await w.phase("Succeeded")
            second = w.job()["metadata"]["uid"]
            w.kube.edit("zofinetunes", "sst2", {"spec": {"runtime": {"nodeSelector": {"gpu": "biggest"}}}})
            await w.phase("Succeeded")
            await w.quiet()
            assert w.job()["metadata"]["uid"] == second

    asyncio.run(life())


def test_time_to_live_removes_the_job_once_and_restart_begins_anew():
    async def life():
        async with world() as w:
            w.kube.put(manifest(ttlSecondsAfterFinished=0))
            pod = await running(w)
            assert "ttlSecondsAfterFinished" not in w.job()["spec"], "the result could be lost"
            w.workloads.finish(pod, DONE)
            await w.until(lambda: w.status().get("phase") == "Succeeded" and not w.kube.store.all("jobs"))
            await w.until(lambda: not w.kube.store.all("configmaps"))
            assert await w.quiet() == 0
            assert w.status()["accuracyAfter"] == 0.75
            w.kube.edit("zofinetunes", "sst2", {"metadata": {"annotations": {"zofinetune.io/restart": "1"}}})
            await w.pod()
            assert w.status()["rounds"][0]["number"] == 2

    asyncio.run(life())


def test_a_queued_job_is_kueues_to_start():
    async def life():
        async with world() as w:
            w.kube.put(manifest(queueName="team"))
            await w.phase("Queued")
            job = w.job()
            assert job["spec"]["suspend"] is True
            assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
            # Kueue admits: it chooses nodes and lets the Job go.
            node = {"spec": {"suspend": False, "parallelism": 1}}
            w.kube.edit("jobs", job["metadata"]["name"], node)
            pod = await w.pod()
            w.workloads.start(pod, TRAINING)
            await w.phase("Running")
            # Kueue preempts: the operator must not start the Job again.
            w.kube.edit("jobs", job["metadata"]["name"], {"spec": {"suspend": True}})
            await w.phase("Queued")
            await w.quiet()
            assert w.job()["spec"]["suspend"] is True
            # The user suspends: the Job goes, or Kueue would start it again.
            w.kube.edit("zofinetunes", "sst2", {"spec": {"suspend": True}})
            await w.phase("Suspended")
            assert w.job() is None
            w.kube.edit("zofinetunes", "sst2", {"spec": {"suspend": False}})
            await w.phase("Queued")
            assert w.job()["spec"]["suspend"] is True

    asyncio.run(life())


def test_a_pod_that_cannot_start_says_why():
    async def life():
        async with world() as w:
            w.kube.put(manifest())
            pod = await w.pod()
            w.workloads.wait(pod, "ImagePullBackOff", 'Back-off pulling image "typo"')
            await w.until(lambda: w.condition("Ready") == ("Unknown", "ImagePullBackOff"))
            assert w.condition("Stalled")[0] == "False"
            assert ("Warning", "ImagePullBackOff") in w.events()
            w.workloads.start(pod)
            await w.phase("Running")

    asyncio.run(life())


def test_fields_of_a_running_job_follow_the_spec():
    async def life():
        async with world() as w:
            w.kube.put(manifest())
            await running(w)
            uid = w.job()["metadata"]["uid"]
            w.kube.edit("zofinetunes", "sst2", {"spec": {"backoffLimit": 2, "activeDeadlineSeconds": 60}})
            await w.until(lambda: w.job()["spec"].get("activeDeadlineSeconds") == 60)
            w.kube.edit("zofinetunes", "sst2", {"spec": {"activeDeadlineSeconds": None}})
            await w.until(lambda: "activeDeadlineSeconds" not in w.job()["spec"])
            assert w.job()["spec"]["backoffLimit"] == 2
            assert w.job()["metadata"]["uid"] == uid

    asyncio.run(life())


def test_children_that_someone_removes_come_back():
    async def life():
        async with world() as w:
            w.kube.put(manifest())
            await running(w)
            job = w.job()["metadata"]
            w.kube.discard("services", "zo-sst2")
            w.kube.discard("configmaps", job["name"])
            await w.until(lambda: w.kube.find("services", "zo-sst2") and w.kube.find("configmaps", job["name"]))
            w.kube.discard("jobs", job["name"], "Foreground")
            await w.until(lambda: (found := w.job()) and found["metadata"]["uid"] != job["uid"])
            assert w.status()["rounds"][0]["number"] == 1

    asyncio.run(life())


@pytest.mark.parametrize("with_operator", [True, False])
def test_deletion_never_waits_for_the_operator(with_operator):
    async def life():
        async with world() as w:
            w.kube.put(manifest(deletionPolicy="Delete"))
            await running(w)
            assert not w.resource()["metadata"].get("finalizers")
            if not with_operator:
                await w.replicas[0].stop()
            w.kube.discard("zofinetunes", "sst2")
            assert w.kube.find("zofinetunes", "sst2") is None

    asyncio.run(life())
