"""The fake API server does what a real one does, as far as the operator relies on it."""

import asyncio
import contextlib
import json

import aiohttp
import kmock
import pytest

from fakes.kube import FakeKube, Refusal
from fakes.kube_apply import DuplicateKey, apply, leaves
from fakes.world import manifest


@contextlib.asynccontextmanager
async def cluster():
    async with FakeKube() as kube, kmock.Server(kube), aiohttp.ClientSession(str(kube.url)) as session:
        yield kube, session


def config_map(name="c", **meta):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default", **meta}}


def test_generation_counts_changes_of_the_spec_and_versions_count_all():
    async def check():
        async with cluster() as (kube, _):
            first = json.loads(json.dumps(kube.put(manifest())["metadata"]))
            kube.edit("zofinetunes", "sst2", {"spec": {"suspend": True}})
            second = dict(kube.find("zofinetunes", "sst2")["metadata"])
            assert (first["generation"], second["generation"]) == (1, 2)
            kube.edit("zofinetunes", "sst2", {"status": {"phase": "Pending"}}, status=True)
            third = dict(kube.find("zofinetunes", "sst2")["metadata"])
            assert third["generation"] == 2
            assert int(first["resourceVersion"]) < int(second["resourceVersion"]) < int(third["resourceVersion"])
            kube.edit("zofinetunes", "sst2", {"spec": {"suspend": True}})
            assert kube.find("zofinetunes", "sst2")["metadata"]["resourceVersion"] == third["resourceVersion"]

    asyncio.run(check())


def test_status_and_spec_are_written_apart():
    async def check():
        async with cluster() as (kube, _):
            kube.put({**manifest(), "status": {"phase": "Failed"}})
            assert "status" not in kube.find("zofinetunes", "sst2")
            kube.edit("zofinetunes", "sst2", {"status": {"phase": "Failed"}, "spec": {"suspend": True}})
            assert "status" not in kube.find("zofinetunes", "sst2")
            kube.edit("zofinetunes", "sst2", {"status": {"phase": "Failed"}, "spec": {"suspend": False}}, status=True)
            stored = kube.find("zofinetunes", "sst2")
            assert stored["status"] == {"phase": "Failed"}
            assert stored["spec"]["suspend"] is True

    asyncio.run(check())


def test_garbage_is_collected_in_the_right_order():
    async def check():
        async with cluster() as (kube, _):
            owner = kube.put(config_map("owner"))
            reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
            kube.put(config_map("child", ownerReferences=[reference], finalizers=["test/held"]))
            kube.discard("configmaps", "owner", "Foreground")
            assert "deletionTimestamp" in kube.find("configmaps", "owner")["metadata"]
            assert "deletionTimestamp" in kube.find("configmaps", "child")["metadata"]
            kube.edit("configmaps", "child", {"metadata": {"finalizers": []}})
            assert kube.find("configmaps", "child") is None
            assert kube.find("configmaps", "owner") is None

    asyncio.run(check())


def test_a_watch_resumes_from_a_version_and_follows_a_selector():
    async def read(kube, session, since, count, selector="a=b"):
        params = {"watch": "true", "resourceVersion": str(since), "labelSelector": selector}
        events = []
        async with session.get("/api/v1/configmaps", params=params) as response:
            async for line in response.content:
                event = json.loads(line)
                if event["type"] != "BOOKMARK":
                    events.append((event["type"], event["object"].get("metadata", {}).get("name")))
                if len(events) == count:
                    return events
        return events

    async def check():
        async with cluster() as (kube, session):
            start = kube.store.version
            kube.put(config_map("one", labels={"a": "b"}))
            kube.put(config_map("other"))
            kube.edit("configmaps", "other", {"metadata": {"labels": {"a": "b"}}})
            kube.edit("configmaps", "one", {"metadata": {"labels": {"a": "c"}}})
            middle = kube.store.version
            kube.discard("configmaps", "other")
            assert await read(kube, session, start, 4) == [
                ("ADDED", "one"), ("ADDED", "other"), ("DELETED", "one"), ("DELETED", "other")
            ]  # fmt: skip
            assert await read(kube, session, middle, 1) == [("DELETED", "other")]
            kube.break_watches()
            assert await read(kube, session, start, 1) == [("ERROR", None)]

    asyncio.run(check())


def test_a_job_keeps_its_template():
    async def check():
        async with cluster() as (kube, _):
            pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
            job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "default"}}
            kube.put({**job, "spec": {"template": {"spec": pod}}})
            kube.edit("jobs", "j", {"spec": {"suspend": True, "backoffLimit": 1}})
            with pytest.raises(Refusal, match=r"spec.template: .*immutable"):
                kube.edit("jobs", "j", {"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}})
            with pytest.raises(Refusal, match="spec"):
                kube.edit("jobs", "j", {"spec": {"suspend": "yes"}})

    asyncio.run(check())


def test_an_apply_owns_what_it_names_and_gives_up_what_it_no_longer_names():
    live = {"metadata": {}, "spec": {"default": 1}}
    live, conflicts = apply(live, {"spec": {"mine": 1, "both": 1}}, "a", force=False)
    assert conflicts == []
    live, conflicts = apply(live, {"spec": {"both": 1, "theirs": 2}}, "b", force=False)
    assert conflicts == []
    live, _ = apply(live, {"spec": {}}, "a", force=False)
    assert live["spec"] == {"default": 1, "both": 1, "theirs": 2}
    same, conflicts = apply(live, {"spec": {"theirs": 3}}, "a", force=False)
    assert conflicts == ['conflict with "b": .spec.theirs']
    assert same == live
    live, _ = apply(live, {"spec": {"theirs": 3}}, "a", force=True)
    assert live["spec"]["theirs"] == 3
    live, _ = apply(live, {"spec": {"both": 1}}, "b", force=True)
    assert live["spec"]["theirs"] == 3, "it belongs to a by now"


def test_keyed_lists_are_merged_by_key():
    live, _ = apply({"metadata": {}}, {"status": {"conditions": [{"type": "A", "status": "True"}]}}, "a", force=True)
    live, _ = apply(live, {"status": {"conditions": [{"type": "B", "status": "False"}]}}, "b", force=True)
    assert [condition["type"] for condition in live["status"]["conditions"]] == ["A", "B"]
    live, _ = apply(live, {"status": {}}, "a", force=True)
    assert [condition["type"] for condition in live["status"]["conditions"]] == ["B"]
    with pytest.raises(DuplicateKey):
        list(leaves({"env": [{"name": "X"}, {"name": "X"}]}))
