"""Versions on their way to ten replicas: the real operator, a fake API server, replicas that answer over HTTP."""

import asyncio
import json

import aiohttp
import pytest

from fakes.fleet import digest_of, fleet, sha256_of
from fakes.serving_scene import QUICK, publish, reasons, scene, served, serving, state
from fakes.world import manifest, world
from zo_runtime.serving.contract import Target


def test_canary_first_all_later_and_a_dead_replica_blocks_nobody():
    async def life():
        async with scene(10, canary=2, bake=2) as (w, f):
            await served(w, "NoVersion", "False")
            await publish(w, 1)
            await w.phase("Succeeded")
            assert f.versions() == {f"web-{number}": 1 for number in range(10)}
            assert f.desired().canary is None
            assert w.condition("Ready") == ("True", "Completed")
            assert w.condition("Served") == ("True", "AllReplicas")
            await f.kill(f.replicas["web-9"])
            await served(w, "ReplicasMissing", "True")
            assert w.condition("Ready")[0] == "True", "a replica that goes does not undo a rollout"
            told = []
            w.kube.after = lambda write: told.append(f.desired()) if write.name == "sst2-serving" else None
            await publish(w, 2)
            await w.phase("RollingOut")
            assert w.condition("Ready") == ("Unknown", "Canary")
            assert w.condition("Reconciling")[0] == "True"
            await w.until(lambda: state(w).get("canaryReadyTime"), "the canaries")
            versions = f.versions()
            assert [name for name, version in versions.items() if version == 2] == ["web-0", "web-1"]
            assert state(w)["canary"] == ["web-0", "web-1"]
            assert state(w)["previous"]["version"] == 1
            await w.phase("Succeeded")
            assert {n: v for n, v in f.versions().items() if n != "web-9"} == {f"web-{n}": 2 for n in range(9)}
            assert w.condition("Served") == ("True", "ReplicasMissing")
            assert (state(w)["replicas"], state(w)["updated"], state(w)["failedReplicas"]) == (10, 9, 1)
            assert reasons(w) == {"web-9": "Unreachable"}
            assert state(w)["digest"] == digest_of(Target(version=2, sha256=sha256_of(2)))
            assert state(w)["sha256"] == sha256_of(2)
            assert [(d.target.version, d.canary and d.canary.members) for d in told] == [
                (1, ("web-0", "web-1")), (2, None)
            ]  # fmt: skip
            assert await w.quiet() == 0
            found = [reason for _, reason in w.events()]
            assert found.count("Completed") == 2, "once a round"
            found = [reason for reason in found if reason.startswith(("Canary", "Rollout", "Replicas"))]
            assert found[:5] == [
                "RolloutStarted", "RolloutCompleted", "ReplicasMissing", "CanaryStarted", "RolloutStarted"
            ]  # fmt: skip
            assert sorted(found[5:]) == ["ReplicasMissing", "RolloutCompleted"]

    asyncio.run(life())


def test_pods_come_and_go_and_start_again():
    async def life():
        async with scene(2, canary="50%") as (w, f):
            await publish(w, 1)
            await w.phase("Succeeded")
            await f.add("web-7")
            await w.until(lambda: state(w)["updated"] == 3)
            assert f.versions()["web-7"] == 1
            await f.remove("web-0")
            await w.until(lambda: state(w)["replicas"] == 2)
            await f.kill(f.replicas["web-1"])
            await w.until(lambda: reasons(w) == {"web-1": "Unreachable"})
            await f.revive(f.replicas["web-1"])
            await served(w, "AllReplicas", "True")
            assert [pod["name"] for pod in state(w)["pods"]] == ["web-1", "web-7"]
            await f.remove("web-1")
            await f.remove("web-7")
            await served(w, "NoReplicas", "False")
            assert w.condition("Ready")[0] == "True"
            await publish(w, 2)
            await w.until(lambda: (d := f.desired()) and d.target.version == 2, "nobody to try it first")
            await f.add("web-8")
            await served(w, "AllReplicas", "True")
            assert f.versions() == {"web-8": 2}
            assert await w.quiet() == 0

    asyncio.run(life())


def test_every_kind_of_trouble_is_named_and_goes_when_it_is_mended():
    async def life():
        async with scene(6, canary=0) as (w, f):
            for name, behaviour in zip(
                f.replicas, ("not-json", "slow", "no-plugin", "broken", "failing"), strict=False
            ):
                f.replicas[name].behaviour = behaviour
            await publish(w, 1)
            await w.until(lambda: state(w).get("updated") == 1)
            wanted = {"web-0": "BadAnswer", "web-1": "TimedOut", "web-2": "PluginMissing", "web-3": "BadAnswer"}
            await w.until(lambda: reasons(w) == wanted | {"web-4": "LogCorrupt"}, "all reasons")
            assert w.condition("Served") == ("False", "ReplicasFailed")
            assert w.condition("Ready")[0] == "Unknown"
            message = next(c["message"] for c in w.status()["conditions"] if c["type"] == "Served")
            assert message.startswith("1 of 6 replicas serve version 1; not there: web-4 (LogCorrupt: a segment")
            assert await w.quiet() == 0, "trouble that stays is told once"
            for replica in f.replicas.values():
                replica.behaviour = "good"
            await served(w, "AllReplicas", "True")
            await w.phase("Succeeded")
            assert not state(w).get("failed")

    asyncio.run(life())


def test_a_canary_that_fails_keeps_the_version_from_the_others():
    async def life():
        async with scene(3) as (w, f):
            await publish(w, 1)
            await w.phase("Succeeded")
            f.replicas["web-0"].behaviour = "failing"
            await publish(w, 2)
            await served(w, "CanaryFailed", "False")
            assert w.condition("Ready") == ("Unknown", "CanaryFailed")
            await asyncio.sleep(0.3)
            assert f.versions() == {"web-0": 1, "web-1": 1, "web-2": 1}
            f.replicas["web-0"].behaviour = "good"
            await w.phase("Succeeded")
            assert set(f.versions().values()) == {2}

    asyncio.run(life())


def test_a_canary_that_dies_is_replaced_once():
    async def life():
        async with scene(4, bake=1) as (w, f):
            await publish(w, 1)
            await w.phase("Succeeded")
            f.replicas["web-0"].behaviour = "failing"
            await publish(w, 2)
            await served(w, "CanaryFailed")
            await f.kill(f.replicas["web-0"])
            await w.until(lambda: state(w)["canary"] == ["web-0", "web-1"], "another canary")
            await f.kill(f.replicas["web-1"])
            await served(w, "CanaryMissing", "False")
            await asyncio.sleep(0.3)
            assert f.desired().target.version == 1
            f.replicas["web-1"].behaviour = "good"
            await f.revive(f.replicas["web-1"])
            await w.phase("Succeeded")
            assert reasons(w) == {"web-0": "Unreachable"}
            assert f.versions()["web-3"] == 2

    asyncio.run(life())


def test_a_pin_reaches_all_at_once_and_its_end_is_a_rollout():
    async def life():
        async with scene(3) as (w, f):
            await publish(w, 1)
            await publish(w, 2)
            await w.until(lambda: set(f.versions().values()) == {2}, "version 2")
            pin = {"version": 1, "sha256": sha256_of(1), "step": 30}
            w.kube.edit("zofinetunes", "sst2", {"spec": {"serving": {"target": pin}}})
            await w.until(lambda: {r.served.step for r in f.replicas.values()} == {30}, "the pin")
            await w.until(lambda: state(w)["updated"] == 3)
            assert (state(w)["version"], state(w)["step"]) == (1, 30)
            assert state(w)["digest"] == digest_of(Target(version=1, sha256=sha256_of(1), step=30))
            await publish(w, 3)
            await w.phase("Succeeded")
            assert f.desired().target.version == 1, "a pinned resource stays where it is"
            w.kube.edit("zofinetunes", "sst2", {"spec": {"serving": {"target": None}}})
            await w.until(lambda: set(f.versions().values()) == {3}, "version 3")
            assert "CanaryStarted" in [reason for _, reason in w.events()]

    asyncio.run(life())


def test_the_operator_is_killed_at_every_step_of_a_rollout():
    async def life():
        async with scene(3, bake=1) as (w, f):

            async def replace():
                await w.replicas[-1].kill()
                await w.operator()

            await publish(w, 1)
            await w.phase("Succeeded")
            await publish(w, 2)
            await w.until(lambda: f.desired().canary, "the canary")
            await replace()
            await w.until(lambda: state(w).get("canaryReadyTime"), "the canary's success")
            assert f.versions() == {"web-0": 2, "web-1": 1, "web-2": 1}
            await replace()
            await w.until(lambda: f.desired().target.version == 2, "the others")
            await replace()
            await w.phase("Succeeded")
            assert set(f.versions().values()) == {2}
            assert await w.quiet() == 0

    asyncio.run(life())


def secret(text, key="api-key"):
    data = {key: text}
    meta = {"name": "vllm", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}


def test_replicas_behind_an_api_key():
    async def life():
        async with scene(2, api_key="s3cret") as (w, _):
            await publish(w, 1)
            await w.until(lambda: set(reasons(w).values()) == {"Unauthorized"})
            w.kube.edit("zofinetunes", "sst2", {"spec": {"serving": {"apiKeySecretRef": {"name": "vllm"}}}})
            await served(w, "SecretNotFound", "Unknown")
            w.kube.put(secret("d3Jvbmc="))
            await served(w, "ReplicasMissing", "False")
            w.kube.edit("secrets", "vllm", {"data": {"api-key": "czNjcmV0Cg=="}})
            await served(w, "AllReplicas", "True")
            shown = json.dumps([w.resource(), w.kube.store.all("events"), w.kube.store.all("configmaps")])
            assert "s3cret" not in shown

    asyncio.run(life())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (secret("czNjcmV0", "other"), "SecretKeyNotFound"),
        (secret("/w=="), "SecretInvalid"),
        (secret("YQpi"), "SecretInvalid"),
    ],
)
def test_a_secret_that_does_not_fit_is_told(body, reason):
    async def life():
        async with scene(1, api_key="x", apiKeySecretRef={"name": "vllm"}) as (w, _):
            w.kube.put(body)
            await served(w, reason, "Unknown")

    asyncio.run(life())


def test_nobody_elses_config_map_is_taken_over():
    async def life():
        async with world(QUICK) as w, fleet(w.kube, 1) as f:
            meta = {"name": "sst2-serving", "namespace": "default"}
            w.kube.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"mine": "1"}})
            w.kube.put(manifest(serving=serving(f)))
            await publish(w, 1)
            await served(w, "NameTaken", "False")
            assert w.kube.find("configmaps", "sst2-serving")["data"] == {"mine": "1"}
            assert w.status()["rounds"][0]["outcome"] == "Completed"
            w.kube.discard("configmaps", "sst2-serving")
            await w.phase("Succeeded")
            assert f.versions() == {"web-0": 1}

    asyncio.run(life())


def test_what_serving_leaves_when_it_ends():
    async def life():
        async with scene(1) as (w, f):
            await publish(w, 1)
            await w.phase("Succeeded")
            w.kube.discard("configmaps", "sst2-serving")
            await w.until(f.desired, "the ConfigMap again")
            w.kube.edit("zofinetunes", "sst2", {"spec": {"serving": {"modelName": "helper"}}})
            f.model = "helper"
            await w.until(f.desired, "the new name")
            assert list(w.kube.find("configmaps", "sst2-serving")["data"]) == ["helper.json"]
            await served(w, "AllReplicas", "True")
            w.kube.edit("zofinetunes", "sst2", {"spec": {"serving": None}})
            await w.until(lambda: "serving" not in w.status(), "no more serving")
            assert w.kube.find("configmaps", "sst2-serving") is None
            assert w.condition("Served") == ("", "")
            asked = f.replicas["web-0"].asked
            await asyncio.sleep(0.3)
            assert f.replicas["web-0"].asked == asked
            assert f.versions() == {"web-0": 1}, "the replicas are the user's"

    asyncio.run(life())


def test_deletion_takes_the_config_map_and_the_metrics_along():
    async def life():
        async with scene(2) as (w, _):
            await publish(w, 1)
            await w.phase("Succeeded")
            metrics = await scrape(w)
            assert 'zo_resource_serving_version{name="sst2",namespace="default"} 1.0' in metrics
            assert 'zo_resource_serving_updated{name="sst2",namespace="default"} 2.0' in metrics
            w.kube.discard("zofinetunes", "sst2")
            await w.until(lambda: not w.kube.store.all("configmaps"))
            await w.quiet()
            assert 'serving_version{name="sst2"' not in await scrape(w)
            assert len(w.kube.store.all("pods")) == 2

    asyncio.run(life())


async def scrape(w):
    _, port = w.replicas[-1].app.ports
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        return await response.text()
