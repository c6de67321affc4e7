"""The client: verbs, pages, errors by kind, credentials that are read again, and time-outs."""

import asyncio
import contextlib
import dataclasses

import kmock
import kopf
import pytest

from fakes.kube import FakeKube, Refusal
from fakes.operator import SETTINGS, manifest
from zo_operator.cluster.client import Client
from zo_operator.cluster.credentials import connection
from zo_operator.cluster.kinds import CONFIG_MAP, JOB, RESOURCE
from zo_operator.errors import Conflict, Forbidden, NotFound, Refused, SettingsError, Unavailable, from_status


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


@contextlib.asynccontextmanager
async def cluster(**settings):
    seen = []
    async with FakeKube() as kube, kmock.Server(kube):
        changed = dataclasses.replace(SETTINGS, **settings)
        async with Client(kube.login, changed, lambda *request: seen.append(request)) as client:
            yield kube, client, seen


def test_an_object_through_its_life():
    async def check():
        async with cluster() as (_, client, seen):
            made = await client.apply(CONFIG_MAP, config_map("c", a="1"))
            assert made["data"] == {"a": "1"}
            assert (await client.get(CONFIG_MAP, "default", "c"))["metadata"]["uid"] == made["metadata"]["uid"]
            changed = await client.patch(CONFIG_MAP, "default", "c", {"data": {"b": "2"}})
            assert changed["data"] == {"a": "1", "b": "2"}
            again = await client.apply(CONFIG_MAP, config_map("c", a="3"))
            assert again["data"] == {"a": "3", "b": "2"}, "an apply touches only what is its own"
            with pytest.raises(Conflict):
                await client.delete(CONFIG_MAP, "default", "c", "another-uid")
            await client.delete(CONFIG_MAP, "default", "c", made["metadata"]["uid"])
            with pytest.raises(NotFound):
                await client.get(CONFIG_MAP, "default", "c")
            assert [(verb, kind, code) for verb, kind, code, _ in seen][:2] == [
                ("PATCH", "ConfigMap", 200), ("GET", "ConfigMap", 200)
            ]  # fmt: skip

    asyncio.run(check())


def test_lists_come_in_pages():
    async def check():
        async with cluster() as (kube, client, seen):
            for number in range(1203):
                kube.store.create("configmaps", config_map(f"c-{number}"))
            found = await client.list(CONFIG_MAP, None)
            assert len({item["metadata"]["name"] for item in found}) == 1203
            assert len(seen) == 3
            assert await client.list(CONFIG_MAP, "elsewhere") == []
            assert await client.list(CONFIG_MAP, None, "a=b") == []

    asyncio.run(check())


def test_a_write_onto_an_old_version_is_a_conflict():
    async def check():
        async with cluster() as (kube, client, _):
            kube.put(manifest())
            stored = kube.find("zofinetunes", "sst2")
            meta = {"name": "sst2", "namespace": "default", "resourceVersion": stored["metadata"]["resourceVersion"]}
            body = {"apiVersion": "zofinetune.io/v1alpha1", "kind": "ZOFineTune", "metadata": meta}
            written = await client.apply(RESOURCE, body | {"status": {"phase": "Pending"}}, subresource="status")
            assert written["status"] == {"phase": "Pending"}
            assert written["metadata"]["generation"] == 1
            with pytest.raises(Conflict):
                await client.apply(RESOURCE, body | {"status": {"phase": "Running"}}, subresource="status")

    asyncio.run(check())


@pytest.mark.parametrize(
    ("code", "kind"),
    [(400, Refused), (401, Forbidden), (403, Forbidden), (404, NotFound), (409, Conflict), (413, Refused),
    (418, Refused),
     (422, Refused), (429, Unavailable), (500, Unavailable), (503, Unavailable), (504, Unavailable)],
)  # fmt: skip
def test_each_code_has_its_error(code, kind):
    assert type(from_status(code, "m")) is kind


def test_the_servers_message_is_kept():
    async def check():
        async with cluster() as (kube, client, _):
            kube.faults.append(lambda _: Refusal(403, "Forbidden", "exceeded quota: gpus"))
            with pytest.raises(Forbidden, match="exceeded quota: gpus"):
                await client.apply(CONFIG_MAP, config_map("c"))

    asyncio.run(check())


def test_credentials_are_read_again_after_401():
    async def check():
        async with FakeKube(tokens={"new"}) as kube, kmock.Server(kube):
            tokens = iter(["old", "new"])
            async with Client(lambda: kube.login(next(tokens)), SETTINGS) as client:
                assert await client.list(JOB, None) == []

    asyncio.run(check())


def test_credentials_that_stay_wrong_are_an_error():
    async def check():
        async with FakeKube(tokens={"other"}) as kube, kmock.Server(kube), Client(kube.login, SETTINGS) as client:
            with pytest.raises(Forbidden):
                await client.list(JOB, None)

    asyncio.run(check())


def test_no_server_and_a_silent_server_are_unavailable():
    async def check():
        async with Client(lambda: kopf.ConnectionInfo(server="http://127.0.0.1:1"), SETTINGS) as client:
            with pytest.raises(Unavailable):
                await client.list(JOB, None)

        async def say_nothing(reader, writer):
            await reader.read()
            writer.close()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        short = dataclasses.replace(SETTINGS, request_timeout=0.2)
        async with Client(lambda: kopf.ConnectionInfo(server=f"http://127.0.0.1:{port}"), short) as client:
            with pytest.raises(Unavailable, match="jobs"):
                await client.list(JOB, None)
        silent.close()
        await asyncio.sleep(0.05)

    asyncio.run(check())


def test_whether_a_kind_is_served():
    async def check():
        async with cluster() as (kube, client, _):
            assert await client.served(RESOURCE)
            kube.served = False
            assert not await client.served(RESOURCE)

    asyncio.run(check())


def test_a_pod_uses_its_service_account(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_text("")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    info = connection(tmp_path)
    assert info.server == "https://[fd00::1]:6443"
    assert info.token == "first"
    (tmp_path / "token").write_text("second\n")
    assert connection(tmp_path).token == "second"


def test_without_a_cluster_the_remedy_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(SettingsError, match="set KUBECONFIG"):
        connection(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(SettingsError, match="KUBECONFIG: cannot be read"):
        connection(tmp_path)
