"""Rounds that begin by themselves, with the real kopf operator against a fake API server and a clock that jumps."""

import asyncio
from datetime import UTC, datetime, timedelta

import yaml

from fakes.fleet import LABELS, sha256_of
from fakes.world import manifest, world
from zo_runtime.progress import Progress, Result
from zo_runtime.rounds.contract import Fresh, ProbeResult, Verdict

TRAINING = Progress(phase="Training", step=40, total_steps=100, loss=0.6, flushed_step=30)
BY_DATA = {"freshData": {"examples": 100, "probeSeconds": 300}}
NIGHT = datetime(2031, 5, 4, 3, 30, tzinfo=UTC)


def resource(**spec):
    """A resource whose rounds may be as small as they like: examples to judge by are given apart."""
    data = {"train": {"uri": "s3://data/incoming/"}, "evaluation": {"uri": "s3://data/dev.jsonl"}}
    return manifest(data=data, **spec)


async def look(w, records, **more):
    """Let the look at the data find so many fresh records."""
    pod = await w.probe()
    w.workloads.start_small(pod)
    fresh = Fresh(objects=1 if records else 0, records=records, bytes=9 * records, **more)
    result = ProbeResult(ok=True, reason="Completed", fresh=fresh)
    w.workloads.finish(pod, result.model_dump_json(by_alias=True, exclude_none=True))
    return pod


async def conclude(w, version, *, accepted=True):
    """Let the round that runs end with a version."""
    pod = await w.pod()
    w.workloads.start(pod, TRAINING)
    verdict = Verdict(accepted=accepted, reason="Improved" if accepted else "NoImprovement", message="by 3 points")
    result = Result(
        ok=True, reason="Completed" if accepted else "Rejected", message="" if accepted else "by 3 points",
        steps=100, version=version, version_sha256=sha256_of(version), log_uri="s3://logs/sst2", verdict=verdict,
    )  # fmt: skip
    w.workloads.finish(pod, result)


def numbers(w):
    return [(each["number"], each.get("outcome")) for each in w.status().get("rounds", ())]


def order(w):
    """What the round that runs was told."""
    found = w.kube.find("configmaps", w.job()["metadata"]["name"])
    return yaml.safe_load(found["data"]["zofinetune.yaml"])["round"]


def version(number):
    return {"version": number, "sha256": sha256_of(number)}


def told(w):
    return [reason for _, reason in w.events()]


def test_rounds_by_data_and_a_rejected_one_is_not_served():
    async def life():
        async with world() as w:
            w.jump(NIGHT)
            w.kube.put(resource(schedule=BY_DATA, serving={"selector": LABELS}))
            await w.phase("Waiting")
            await look(w, 99)
            await w.until(lambda: w.condition("FreshData") == ("True", "FreshRecords"))
            assert w.condition("Ready") == ("True", "Waiting")
            assert await w.quiet() == 0
            w.jump(NIGHT + timedelta(seconds=400))
            await look(w, 120)
            await w.until(lambda: numbers(w) == [(1, None)])
            await w.pod()
            assert order(w) == {"number": 1}
            assert w.status()["rounds"][0]["dataRecords"] == 120
            await conclude(w, 1)
            await w.until(lambda: w.status().get("serving", {}).get("version") == 1, "served")
            await look(w, 300)
            await w.until(lambda: numbers(w) == [(2, None), (1, "Completed")])
            await w.pod()
            assert order(w) == {"number": 2, "base": version(1), "served": version(1)}
            served = w.kube.find("configmaps", "sst2-serving")
            await conclude(w, 2, accepted=False)
            await w.until(lambda: numbers(w)[0] == (2, "Rejected"))
            await look(w, 0)
            await w.phase("Waiting")
            assert w.condition("Ready")[0] == "True"
            await w.until(lambda: w.condition("FreshData") == ("False", "NoFreshData"))
            assert w.status()["serving"]["version"] == 1
            assert w.kube.find("configmaps", "sst2-serving") == served
            assert w.status()["rounds"][0]["verdict"]["reason"] == "NoImprovement"
            assert ("Warning", "Rejected") in w.events()
            w.jump(NIGHT + timedelta(seconds=900))
            await look(w, 100)
            await w.until(lambda: numbers(w)[0] == (3, None))
            await w.pod()
            assert order(w)["base"] == version(1)

    asyncio.run(life())


def test_rounds_by_time_and_an_operator_that_was_down_over_several():
    async def life():
        async with world() as w:
            w.jump(NIGHT)
            w.kube.put(resource(schedule={"cron": "0 5 * * *", "timeZone": "Europe/Berlin"}))
            await w.phase("Waiting")
            assert w.status()["schedule"]["nextScheduleTime"] == "2031-05-05T03:00:00Z"
            assert await w.quiet() == 0
            w.jump(NIGHT + timedelta(days=1))
            await look(w, 0)
            await w.until(lambda: "NoFreshData" in told(w))
            await w.replicas[0].stop()
            w.ahead += timedelta(days=4)
            await w.operator()
            await look(w, 5)
            await w.until(lambda: numbers(w) == [(1, None)])
            missed = next(e for e in w.kube.store.all("events") if e["reason"] == "MissedSchedule")
            assert missed["message"].startswith("3 scheduled times from 2031-05-06T03:00:00Z on passed unused")
            assert w.status()["schedule"]["lastScheduleTime"] == "2031-05-09T03:00:00Z"
            await conclude(w, 1)
            await w.phase("Waiting")
            assert await w.quiet() == 0, "one round catches up for all"
            assert w.status()["schedule"]["nextScheduleTime"] == "2031-05-10T03:00:00Z"

    asyncio.run(life())


def test_a_look_that_fails_says_why_and_is_tried_again_later():
    async def life():
        async with world() as w:
            w.jump(NIGHT)
            w.kube.put(resource(schedule=BY_DATA))
            pod = await w.probe()
            w.workloads.wait(pod, "ImagePullBackOff", "no such image")
            await w.until(lambda: w.condition("FreshData") == ("Unknown", "ImagePullBackOff"))
            failed = ProbeResult(ok=False, reason="StorageDenied", message="no such bucket", exit_code=11)
            w.workloads.finish(pod, failed.model_dump_json(by_alias=True), 11)
            await w.until(lambda: w.condition("FreshData") == ("Unknown", "StorageDenied"))
            await w.phase("Failed")
            assert w.condition("Stalled") == ("True", "StorageDenied")
            assert ("Warning", "StorageDenied") in w.events()
            assert await w.quiet() == 0, "no crash loop"
            w.jump(NIGHT + timedelta(seconds=100))
            await look(w, 0)
            await w.phase("Waiting")
            assert w.condition("Stalled")[0] == "False"

    asyncio.run(life())


def test_skip_suspend_and_replace():
    async def life():
        async with world() as w:
            w.jump(NIGHT)
            w.kube.put(resource(schedule=BY_DATA))
            await look(w, 100)
            first = (await w.pod())["metadata"]["name"]
            w.workloads.hold_termination = True
            w.kube.edit("zofinetunes", "sst2", {"metadata": {"annotations": {"zofinetune.io/skip-round": "1"}}})
            await w.phase("Stopping")
            w.workloads.hold_termination = False
            await w.phase("Waiting")
            assert numbers(w) == [(1, "Superseded")]
            assert not any(pod["metadata"]["name"] == first for pod in w.workloads.pods())
            await look(w, 100)
            await w.until(lambda: w.condition("FreshData")[1] == "FreshRecords")
            assert await w.quiet() == 0, "the skipped round's data does not ask for it again"
            w.kube.edit("zofinetunes", "sst2", {"spec": {"suspend": True}})
            await w.phase("Suspended")
            await w.until(lambda: not w.kube.store.all("jobs"))
            w.jump(NIGHT + timedelta(hours=2))
            assert await w.quiet() <= 1
            changes = {"suspend": False, "schedule": {"concurrencyPolicy": "Replace"}}
            w.kube.edit("zofinetunes", "sst2", {"spec": changes})
            await look(w, 250)
            await w.until(lambda: numbers(w)[0] == (2, None))
            second = await w.pod()
            w.workloads.start(second, TRAINING)
            await w.phase("Running")
            w.jump(NIGHT + timedelta(hours=3))
            await look(w, 400)
            await w.until(lambda: numbers(w)[0] == (3, None))
            await w.pod()
            assert numbers(w)[1] == (2, "Superseded")
            assert {"RoundSkipped", "RoundReplaced"} <= set(told(w))

    asyncio.run(life())


def test_killed_after_every_single_write_of_two_rounds():
    async def life():
        async with world() as w:
            w.jump(NIGHT)
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
            w.kube.put(resource(schedule={**BY_DATA, "cron": "0 * * * *"}))
            await look(w, 150)
            await w.until(lambda: numbers(w) == [(1, None)])
            await conclude(w, 1)
            await look(w, 0)
            await w.phase("Waiting")
            w.jump(NIGHT + timedelta(hours=1))
            await look(w, 7)
            await w.until(lambda: numbers(w) == [(2, None), (1, "Completed")])
            await w.pod()
            assert order(w) == {"number": 2, "base": version(1), "served": version(1)}
            assert w.status()["rounds"][0]["trigger"] == "Cron"
            await conclude(w, 2)
            await look(w, 0)
            await w.phase("Waiting")
            undertaker.cancel()
            await asyncio.wait({undertaker})
            w.kube.after = lambda _: None
            assert deaths > 15
            assert w.status()["schedule"]["probe"] == 4, "no look was made twice"
            events = [(e["reason"], e["message"]) for e in w.kube.store.all("events")]
            assert len(events) == len(set(events)), "an event was told twice"
            for replica in w.replicas:
                await replica.kill()

    asyncio.run(life())
