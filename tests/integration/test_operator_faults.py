"""What goes wrong around the operator: it is killed, the API server fails or refuses, watches miss events."""

import asyncio
import dataclasses
import json
import random

from fakes.kube import Refusal
from fakes.world import SETTINGS, manifest, world
from zo_runtime.progress import Progress, Result

TRAINING = Progress(phase="Training", step=40, total_steps=100, loss=0.6, flushed_step=30, version=1)
DONE = Result(ok=True, reason="Completed", steps=100, accuracy_after=0.75, version=2, digest="e" * 8)


async def run_to_the_end(w):
    """Create, run, suspend, resume, change, finish, remove the Job, delete: every step of a life."""
    w.kube.put(manifest(ttlSecondsAfterFinished=0, deletionPolicy="Delete"))
    w.workloads.start(await w.pod(), TRAINING)
    await w.until(lambda: w.status().get("step") == 40)
    w.kube.edit("zofinetunes", "sst2", {"spec": {"suspend": True}})
    await w.phase("Suspended")
    w.kube.edit("zofinetunes", "sst2", {"spec": {"suspend": False, "data": {"maxExamples": 50}}})
    await w.until(lambda: w.status()["rounds"][0]["number"] == 2)
    pod = await w.pod()
    w.workloads.start(pod, TRAINING)
    w.workloads.fail(pod, 10, "no luck")
    pod = await w.pod(2)
    w.workloads.start(pod, TRAINING)
    w.workloads.finish(pod, DONE)
    await w.until(lambda: w.status().get("phase") == "Succeeded" and not w.kube.store.all("jobs"))
    await w.until(lambda: len(w.kube.store.all("configmaps")) == 1, "the round's ConfigMap gone")
    w.kube.discard("zofinetunes", "sst2")
    cleanup = await w.until(lambda: next(iter(w.workloads.pods("zo-sst2-cleanup")), None), "the cleanup pod")
    w.workloads.finish(cleanup)
    await w.until(lambda: not w.kube.store.all("jobs") and not w.kube.store.all("configmaps"))


def test_killed_after_every_single_write_and_started_again():
    async def life():
        async with world() as w:
            killed, deaths = asyncio.Queue(), 0

            def kill(write):
                if write.user.startswith("operator") and write.user not in w.kube.refused_users:
                    w.kube.refused_users.add(write.user)
                    killed.put_nowait(write.user)

            async def restart():
                nonlocal deaths
                while True:
                    user = await killed.get()
                    deaths += 1
                    await next(replica for replica in w.replicas if replica.user == user).kill()
                    await w.operator()

            w.kube.after = kill
            undertaker = asyncio.create_task(restart())
            await run_to_the_end(w)
            undertaker.cancel()
            await asyncio.wait({undertaker})
            w.kube.after = lambda _: None
            assert deaths > 25
            told = [(e["reason"], e["message"]) for e in w.kube.store.all("events")]
            assert len(told) == len(set(told)), "an event was told twice"
            assert {"RoundStarted", "Running", "Suspended", "EngineFailed", "Completed"} <= {r for r, _ in told}
            for replica in w.replicas:
                await replica.kill()

    asyncio.run(life())


def test_an_api_server_that_fails_a_third_of_all_writes():
    async def life():
        async with world() as w:
            chance = random.Random(7)

            def flaky(write):
                failing = write.user == "operator-0" and chance.random() < 0.33
                return Refusal(503, "ServiceUnavailable", "etcd leader changed") if failing else None

            w.kube.faults.append(flaky)
            await run_to_the_end(w)

    asyncio.run(life())


def test_a_status_that_someone_else_wrote_is_not_overwritten_blindly():
    async def life():
        async with world() as w:
            w.kube.put(manifest())
            await w.pod()
            seen = []

            def interfere(write):
                if write.subresource == "status" and not seen:
                    seen.append(write)
                    annotation = {"metadata": {"annotations": {"by": "somebody"}}}
                    w.kube.edit("zofinetunes", "sst2", annotation)

            w.kube.before = interfere
            w.workloads.start((w.workloads.pods())[0], TRAINING)
            await w.until(lambda: w.status().get("step") == 40)
            assert seen
            assert w.resource()["metadata"]["annotations"] == {"by": "somebody"}

    asyncio.run(life())


def test_a_job_that_the_api_server_will_not_take_stalls_until_the_spec_changes():
    async def life():
        async with world() as w:
            w.kube.put(manifest(runtime={"tolerations": [{"key": "gpu", "operater": "Exists"}]}))
            await w.phase("Failed")
            assert w.condition("Stalled") == ("True", "Refused")
            message = w.status()["conditions"][0]["message"]
            assert "apply Job" in message
            assert "operater" in message
            assert await w.quiet() <= 1, "a refused Job is asked for again and again"
            w.kube.edit("zofinetunes", "sst2", {"spec": {"runtime": {"tolerations": [{"operator": "Exists"}]}}})
            await w.pod()
            await w.phase("Pending")
            assert w.condition("Stalled")[0] == "False"
            assert w.status()["rounds"][0]["number"] == 1

    asyncio.run(life())


def test_a_quota_that_is_lifted_later():
    async def life():
        async with world() as w:
            full = True

            def quota(write):
                if write.plural == "jobs" and full:
                    return Refusal(403, "Forbidden", "exceeded quota: gpus, requested: 1, used: 8, limited: 8")
                return None

            w.kube.faults.append(quota)
            w.kube.put(manifest())
            await w.until(lambda: w.condition("Reconciling") == ("True", "Forbidden"))
            assert "exceeded quota: gpus" in w.status()["conditions"][0]["message"]
            assert ("Warning", "Forbidden") in w.events()
            full = False
            await w.pod()
            await w.until(lambda: w.condition("Reconciling") == ("True", "Pending"))

    asyncio.run(life())


def test_a_deletion_that_the_watches_missed():
    async def life():
        async with world() as w:
            w.kube.put(manifest())
            w.workloads.start(await w.pod(), TRAINING)
            await w.phase("Running")
            uid = w.job()["metadata"]["uid"]
            w.kube.discard("jobs", w.job()["metadata"]["name"])
            w.workloads.tick()
            w.kube.break_watches()
            await w.until(lambda: (job := w.job()) and job["metadata"]["uid"] != uid, "a new Job")

    asyncio.run(life())


def test_the_crd_comes_after_the_operator():
    async def life():
        async with world(operator=False) as w:
            w.kube.served = False
            replica = await w.operator()
            await asyncio.sleep(0.3)
            assert replica.app.controller.problem() is None
            assert replica.app.controller.unready() is not None
            w.kube.served = True
            w.kube.put(manifest())
            await w.pod()

    asyncio.run(life())


def test_a_token_that_was_replaced():
    async def life():
        async with world() as w:
            w.kube.put(manifest())
            pod = await w.pod()
            w.replicas[0].user = "fresh"
            w.kube.tokens = {"fresh"}
            w.kube.break_watches()
            w.workloads.start(pod, TRAINING)
            await w.phase("Running")

    asyncio.run(life())


def test_garbage_that_no_schema_stopped_makes_no_crash_and_no_loop():
    async def life():
        async with world() as w:
            good = manifest("good")
            for name, change in {
                "no-spec": lambda body: body.pop("spec"),
                "spec-is-text": lambda body: body.update(spec="text"),
                "steps-is-text": lambda body: body["spec"]["optimizer"].update(steps="many"),
                "status-is-odd": lambda body: body.update(status={"rounds": [{"number": "x"}], "phase": 7}),
                "nothing-in-lists": lambda body: body["spec"].update(runtime={"env": [None]}),
            }.items():
                body = manifest(name)
                change(body)
                w.kube.store.create("zofinetunes", body)
            w.kube.put(good)
            await w.pod(name="good")
            for name in ("no-spec", "spec-is-text", "steps-is-text", "nothing-in-lists"):
                await w.until(lambda name=name: w.condition("Stalled", name) == ("True", "InvalidSpec"), name)
            assert "spec.optimizer.steps" in w.status("steps-is-text")["conditions"][0]["message"]
            await w.until(lambda: w.status("status-is-odd").get("phase") == "Pending")
            await w.quiet()  # the good one may still be on its way
            assert await w.quiet() == 0
            assert w.replicas[0].app.controller.problem() is None

    asyncio.run(life())


def test_the_log_is_removed_after_the_last_pod_even_if_the_operator_was_away():
    async def life():
        async with world() as w:
            w.kube.put(manifest(deletionPolicy="Delete"))
            pod = await w.pod()
            w.workloads.start(pod, TRAINING)
            await w.phase("Running")
            await w.replicas[0].stop()
            w.workloads.hold_termination = True
            w.kube.discard("zofinetunes", "sst2")
            await w.operator()
            await w.quiet()
            assert not w.kube.find("jobs", "zo-sst2-cleanup"), "a writer still lives"
            w.workloads.hold_termination = False
            job = await w.until(lambda: w.kube.find("jobs", "zo-sst2-cleanup"))
            container = job["spec"]["template"]["spec"]["containers"][0]
            assert container["command"] == ["zo", "delete", "/etc/zofinetune/zofinetune.yaml", "--yes"]
            assert {"secretRef": {"name": "s3"}} in container["envFrom"]
            assert "nvidia.com/gpu" not in json.dumps(container["resources"])
            cleanup = await w.until(lambda: next(iter(w.workloads.pods("zo-sst2-cleanup")), None))
            w.workloads.finish(cleanup)
            await w.until(lambda: not w.kube.store.all("configmaps") and not w.kube.store.all("jobs"))

    asyncio.run(life())


def test_a_cleanup_that_fails_is_told_and_can_be_tried_again(caplog):
    async def life():
        async with world() as w:
            w.kube.put(manifest(deletionPolicy="Delete"))
            await w.pod()
            w.kube.discard("zofinetunes", "sst2")
            job = await w.until(lambda: w.kube.find("jobs", "zo-sst2-cleanup"))
            failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": ""}
            w.kube.edit("jobs", "zo-sst2-cleanup", {"status": {"conditions": [failed]}}, status=True)
            await w.until(lambda: "s3://logs/sst2 not removed" in caplog.text)
            assert w.kube.find("configmaps", "zo-sst2-cleanup"), "the record is how it is tried again"
            w.kube.discard("jobs", "zo-sst2-cleanup")
            again = await w.until(lambda: w.kube.find("jobs", "zo-sst2-cleanup"))
            assert again["metadata"]["uid"] != job["metadata"]["uid"]

    asyncio.run(life())


def test_only_the_given_namespaces_are_looked_at():
    async def life():
        async with world(dataclasses.replace(SETTINGS, namespaces=("default",))) as w:
            foreign = manifest("foreign")
            foreign["metadata"]["namespace"] = "elsewhere"
            w.kube.put(foreign)
            w.kube.put(manifest())
            await w.pod()
            await w.quiet()
            assert "status" not in w.kube.find("zofinetunes", "foreign", "elsewhere")
            assert w.replicas[0].app.controller.problem() is None

    asyncio.run(life())


def test_a_log_that_another_resource_took_over_is_kept():
    async def life():
        async with world() as w:
            w.kube.put(manifest(deletionPolicy="Delete"))
            await w.pod()
            w.kube.put(manifest("heir"))
            await w.pod(name="heir")
            w.kube.discard("zofinetunes", "sst2")
            await w.until(lambda: not w.kube.find("configmaps", "zo-sst2-cleanup"))
            await w.quiet()
            assert not w.kube.find("jobs", "zo-sst2-cleanup")

    asyncio.run(life())


def test_the_record_follows_the_policy():
    async def life():
        async with world() as w:
            w.kube.put(manifest())
            await w.pod()
            assert not w.kube.find("configmaps", "zo-sst2-cleanup")
            w.kube.edit("zofinetunes", "sst2", {"spec": {"deletionPolicy": "Delete"}})
            await w.until(lambda: w.kube.find("configmaps", "zo-sst2-cleanup"))
            w.kube.edit("zofinetunes", "sst2", {"spec": {"deletionPolicy": "Retain"}})
            await w.until(lambda: not w.kube.find("configmaps", "zo-sst2-cleanup"))

    asyncio.run(life())


LEASED = dataclasses.replace(SETTINGS, lease_name="zofinetune", lease_seconds=6.0)


def active(w):
    return [r for r in w.replicas if r.app and r.app.metrics.registry.get_sample_value("zo_operator_active") == 1]


def test_a_standby_takes_over_from_one_that_stops_and_from_one_that_is_killed():
    async def life():
        # All replicas and the server share this process: one that was kept from the processor may lose the Lease.
        async with world(LEASED, operator=False, restarts=True) as w:
            for name in ("a", "b", "c"):
                await w.operator(identity=name)
            w.kube.put(manifest())
            await w.pod()
            await w.until(
                lambda: all(r.app and r.app.controller.unready() is None for r in w.replicas), "a ready standby"
            )
            (first,) = await w.until(lambda: active(w))
            await first.stop()
            await w.until(lambda: active(w), "a second active replica")
            w.workloads.start(w.workloads.pods()[0], TRAINING)
            await w.phase("Running")
            second = (await w.until(lambda: active(w)))[0]
            await second.kill()
            second.app.metrics.active.set(0)
            third = (await w.until(lambda: active(w), "a third active replica"))[0]
            assert len({first.user, second.user, third.user}) == 3
            w.workloads.finish(w.workloads.pods()[0], DONE)
            await w.phase("Succeeded")

    asyncio.run(life())


def test_a_new_holder_renews_while_it_lists_everything():
    async def life():
        async with world(LEASED, operator=False, restarts=True) as w:

            def renewals():
                return sum(write.plural == "leases" for write in w.kube.writes)

            async def slow(_):
                while 0 < renewals() < 4:
                    await asyncio.sleep(0.01)

            w.kube.listing = slow
            await w.operator(identity="a")
            await w.until(lambda: active(w))
            assert renewals() >= 4

    asyncio.run(life())


def test_a_holder_that_is_cut_off_gives_up_and_ends():
    async def life():
        async with world(LEASED, operator=False) as w:
            replica = await w.operator(identity="a")
            await w.until(lambda: active(w))
            w.kube.faults.append(lambda write: Refusal(503, "x", "x") if write.plural == "leases" else None)
            await asyncio.wait_for(replica.ended(), 30)
            assert replica.app.failed

    asyncio.run(life())
