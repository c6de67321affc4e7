"""Approval, checks and rollbacks with the real operator: Prometheus over HTTP, Jobs that score, annotations."""

import asyncio
import contextlib
import json
import time

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from fakes.fleet import sha256_of
from fakes.prometheus import prometheus
from fakes.serving_scene import publish, reasons, scene, served, state
from fixtures.prometheus import Target, fixed, running_prometheus
from zo_operator.cluster.prometheus import HttpPrometheus
from zo_operator.reconcile.questions import render
from zo_runtime.rounds.check_result import CheckResult

PASSED = CheckResult(ok=True, reason="Passed", message="accuracy 0.9, 0.9 in the log", passed=True)
DROPPED = CheckResult(ok=True, reason="AccuracyDropped", message="accuracy 0.5, 0.9 in the log", passed=False)


def errors(source, **more):
    check = {"url": source.url, "query": 'errors{pod=~"{pods}"}', "max": 0.1, "intervalSeconds": 1} | more
    return {"name": "errors", "prometheus": check, "timeoutSeconds": 2}


async def roll(w, **changes):
    """Change the rollout of the resource."""
    w.kube.edit("zofinetunes", "sst2", {"spec": {"serving": {"rollout": changes}}})


def outcomes(w):
    return {past["version"]: past.get("outcome") for past in w.status()["rounds"] if "version" in past}


def annotate(w, **values):
    named = {f"zofinetune.io/{name.replace('_', '-')}": value for name, value in values.items()}
    w.kube.edit("zofinetunes", "sst2", {"metadata": {"annotations": named}})


async def rest(w):
    """Wait until nothing is written any more."""
    for _ in range(10):
        if await w.quiet() == 0:
            return
    raise AssertionError("it does not come to rest")


async def first_version(w, f):
    await publish(w, 1)
    await w.phase("Succeeded")
    assert set(f.versions().values()) == {1}


def test_prometheus_decides_while_the_canary_bakes():
    async def life():
        async with scene(3) as (w, f), prometheus() as source:
            await first_version(w, f)
            await roll(w, checks=[errors(source, failureLimit=2)])
            await publish(w, 2)
            await w.phase("Succeeded")
            assert set(f.versions().values()) == {2}
            assert source.queries == ['errors{pod=~"web-0"}']
            assert state(w)["checks"][0]["state"] == "Passed"
            source.answer = (0.0, 0.5)
            told = []
            w.kube.after = lambda write: told.append(f.desired()) if write.name == "sst2-serving" else None
            await publish(w, 3)
            await w.until(lambda: outcomes(w).get(3) == "RolledBack", "the rollback")
            await w.until(lambda: set(f.versions().values()) == {2}, "version 2 again")
            past = w.status()["rounds"][0]
            assert past["reason"] == "CheckFailed"
            assert past["message"] == "check errors failed 2 of 2 times: 0.5, not at most 0.1"
            assert all(desired.target.version == 2 for desired in told), "version 3 was never told to all"
            await served(w, "AllReplicas", "True")
            assert w.condition("Stalled") == ("True", "CheckFailed")
            found = w.events()
            assert ("Warning", "CheckFailed") in found
            assert ("Warning", "RolledBack") in found
            await rest(w)
            source.answer = 0.0
            await publish(w, 4)
            await w.phase("Succeeded")
            assert set(f.versions().values()) == {4}
            assert [past["version"] for past in state(w)["withdrawn"]] == [3]

    asyncio.run(life())


def test_a_prometheus_that_is_away_is_waited_for_and_then_counts():
    async def life():
        async with scene(2) as (w, f), prometheus() as source:
            await first_version(w, f)
            await source.stop()
            check = errors(source) | {"timeoutSeconds": 4}
            await roll(w, checks=[check])
            await publish(w, 2)
            await served(w, "CheckInconclusive", "False")
            message = next(c["message"] for c in w.status()["conditions"] if c["type"] == "Served")
            assert "Unreachable: no connection to http://127.0.0.1" in message
            await source.start()
            await w.phase("Succeeded")
            assert set(f.versions().values()) == {2}
            await source.stop()
            await publish(w, 3)
            await w.until(lambda: outcomes(w).get(3) == "RolledBack", "patience")
            assert "no clear answer for 4 seconds" in w.status()["rounds"][0]["message"]
            await w.until(lambda: set(f.versions().values()) == {2})

    asyncio.run(life())


def test_a_token_for_prometheus_comes_from_a_secret_and_is_shown_nowhere():
    async def life():
        async with scene(2) as (w, f), prometheus(token="s3cret") as source:
            await first_version(w, f)
            check = errors(source, tokenSecretRef={"name": "prom"}) | {"timeoutSeconds": 60}
            await roll(w, checks=[check])
            await publish(w, 2)
            await served(w, "CheckInconclusive")
            meta = {"name": "prom", "namespace": "default"}
            w.kube.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"token": "czNjcmV0"}})
            await w.phase("Succeeded")
            shown = json.dumps([w.resource(), w.kube.store.all("events"), w.kube.store.all("configmaps")])
            assert "s3cret" not in shown

    asyncio.run(life())


async def check_pod(w):
    """The pod of the check's Job."""

    def found():
        jobs = [job["metadata"]["name"] for job in w.kube.store.all("jobs") if "-check-" in job["metadata"]["name"]]
        alive = [pod for name in jobs for pod in w.workloads.pods(name) if pod["status"]["phase"] == "Pending"]
        return alive[0] if alive else None

    return await w.until(found, "the Job of the check")


def leftovers(w):
    kinds = ("jobs", "configmaps", "pods")
    return [one["metadata"]["name"] for kind in kinds for one in w.kube.store.all(kind)
            if "-check-" in one["metadata"]["name"]]  # fmt: skip


def test_a_job_scores_the_canary_and_is_removed():
    async def life():
        async with scene(3) as (w, f):
            await first_version(w, f)
            await roll(w, checks=[{"name": "accuracy", "heldOut": {"examples": 100}}])
            await publish(w, 2)
            pod = await check_pod(w)
            container = pod["spec"]["containers"][0]
            host = f.replicas["web-0"].host
            assert container["command"][:3] == ["zo", "check", "/etc/zofinetune/zofinetune.yaml"]
            assert f"--replica=http://{host}:{f.port}" in container["command"]
            assert "limits" not in container["resources"]
            assert f.versions() == {"web-0": 2, "web-1": 1, "web-2": 1}
            await w.replicas[-1].kill()
            await w.operator()
            w.workloads.finish(pod, PASSED.to_termination_message())
            await w.phase("Succeeded")
            assert set(f.versions().values()) == {2}
            await w.until(lambda: leftovers(w) == [])
            await publish(w, 3)
            w.workloads.finish(await check_pod(w), DROPPED.to_termination_message())
            await w.until(lambda: outcomes(w).get(3) == "RolledBack")
            assert w.status()["rounds"][0]["message"] == f"check accuracy failed: {DROPPED.message}"
            await w.until(lambda: set(f.versions().values()) == {2})
            await w.until(lambda: leftovers(w) == [])
            await rest(w)

    asyncio.run(life())


def test_a_job_that_cannot_reach_the_replica_is_no_verdict():
    async def life():
        async with scene(2) as (w, f):
            await first_version(w, f)
            await roll(w, checks=[{"name": "accuracy", "heldOut": {}, "timeoutSeconds": 1}])
            await publish(w, 2)
            w.workloads.fail(await check_pod(w), 2, "the replica wants a key")
            await served(w, "CheckInconclusive")
            w.workloads.fail(await check_pod(w), 2, "the replica wants a key")
            await w.until(lambda: outcomes(w).get(2) == "RolledBack")
            assert "InvalidSpec: the replica wants a key" in w.status()["rounds"][0]["message"]

    asyncio.run(life())


def test_approval_by_annotation_and_a_rollback_by_annotation():
    async def life():
        async with scene(3, rollout={"approval": "Manual", "bakeSeconds": 0}) as (w, f):
            await publish(w, 1)
            await served(w, "AwaitingApproval", "False")
            assert f.desired() is None
            annotate(w, approve="1")
            await w.phase("Succeeded")
            await publish(w, 2)
            await served(w, "AwaitingApproval", "False")
            assert w.condition("Ready") == ("Unknown", "AwaitingApproval")
            assert f.versions() == {"web-0": 2, "web-1": 1, "web-2": 1}
            await rest(w)
            await w.replicas[-1].kill()
            await w.operator()
            await roll(w, approvedVersion=2)
            await w.phase("Succeeded")
            assert set(f.versions().values()) == {2}
            found = [reason for _, reason in w.events()]
            assert found.count("AwaitingApproval") == 2
            annotate(w, rollback_to="1")
            await w.until(lambda: set(f.versions().values()) == {1}, "the rollback")
            await w.until(lambda: outcomes(w) == {2: "RolledBack", 1: "Completed"})
            await served(w, "AllReplicas", "True")
            assert w.condition("Ready") == ("True", "RollbackRequested")
            assert state(w)["rollback"]["accepted"] is True
            before = w.resource()["metadata"]
            await w.replicas[-1].kill()
            await w.operator()
            await w.quiet()
            assert w.resource()["metadata"]["annotations"] == before["annotations"], "annotations are the user's"
            assert w.resource()["metadata"]["generation"] == before["generation"]
            assert [reason for _, reason in w.events()].count("RolledBack") == 1
            annotate(w, rollback_to="9")
            await w.until(lambda: ("Warning", "RollbackRefused") in w.events())
            assert set(f.versions().values()) == {1}

    asyncio.run(life())


def test_the_operator_is_killed_at_every_step_of_a_rollback():
    async def life():
        async with scene(3) as (w, f), prometheus(answer=1.0) as source:

            async def replace():
                await w.replicas[-1].kill()
                await w.operator()

            await first_version(w, f)
            await roll(w, checks=[errors(source, failureLimit=2)])
            await publish(w, 2)
            await w.until(lambda: f.desired().canary, "the canary")
            await replace()
            await w.until(lambda: state(w).get("canaryReadyTime"))
            await replace()
            await w.until(lambda: (state(w).get("checks") or [{}])[0].get("failures") == 1, "the first failure")
            await replace()
            await w.until(lambda: f.desired().canary is None, "the desired state")
            await replace()
            await w.until(lambda: outcomes(w).get(2) == "RolledBack")
            await w.until(lambda: set(f.versions().values()) == {1})
            await rest(w)
            assert [reason for _, reason in w.events()].count("RolledBack") == 1

    asyncio.run(life())


def test_a_canary_that_cannot_load_it_is_rolled_back():
    async def life():
        async with scene(3) as (w, f):
            await first_version(w, f)
            await roll(w, progressDeadlineSeconds=1)
            f.replicas["web-0"].behaviour = "failing"
            await publish(w, 2)
            await w.until(lambda: outcomes(w).get(2) == "RolledBack")
            assert w.status()["rounds"][0]["reason"] == "CanaryFailed"
            f.replicas["web-0"].behaviour = "good"
            await served(w, "AllReplicas", "True")
            assert reasons(w) == {}
            assert state(w)["sha256"] == sha256_of(1)

    asyncio.run(life())


@contextlib.contextmanager
def exposed():
    """A port whose `/metrics` has the errors of three pods."""
    registry = CollectorRegistry()
    errors = Gauge("errors", "Errors.", ["pod"], registry=registry)
    for pod, value in {"web.0": 0.5, "web-1": 0.25, "webx0": 9}.items():
        errors.labels(pod).set(value)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_real_prometheus_answers_as_the_operator_expects(tmp_path):
    queries = {
        'errors{pod=~"{pods}"}': (0.25, 0.5),
        'max(errors{pod=~"{pods}"}) * {version}': (3.5,),
        "scalar(vector(7))": (7.0,),
        'errors{pod=~"{pods}"} > 2': (),
        'errors{pod="{model}"}': (),
        "sum(": "BadQuery",
        "errors[5m]": "BadAnswer",
    }

    async def answers(url):
        reader, found = HttpPrometheus(10.0), {}
        try:
            for query in queries:
                filled = render(query, pods=["web.0", "web-1"], namespace="n", model="m", version=7)
                found[query] = await reader.query(url, filled, None)
        finally:
            await reader.close()
        return {query: told(reply) for query, reply in found.items()}

    def told(reply):
        return tuple(sorted(reply)) if isinstance(reply, tuple) else reply.reason

    with exposed() as port, running_prometheus(tmp_path, fixed([Target("errors", port)]), []) as server:
        deadline = time.monotonic() + 30
        while not server.now("errors") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert asyncio.run(answers(server.url)) == queries
