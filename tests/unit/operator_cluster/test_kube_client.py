"""The client: verbs, pages, errors by kind, credentials that are read again, and time-outs."""

import asyncio
import contextlib
import dataclasses
import itertools
import json

import kmock
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import incluster_config

from fakes.kube import FakeKube, Refusal
from fakes.world import SETTINGS, manifest
from fixtures.certificates import write_certificate
from zo_operator.cluster.client import Client
from zo_operator.cluster.configuration import configuration
from zo_operator.cluster.kinds import CONFIG_MAP, JOB, RESOURCE
from zo_operator.cluster.session import kopf_session
from zo_operator.errors import Conflict, Forbidden, NotFound, Refused, SettingsError, Unavailable, from_status


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def at(server):
    async def login():
        return Configuration(host=server)

    return login


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
        async with Client(at("http://127.0.0.1:1"), SETTINGS) as client:
            with pytest.raises(Unavailable):
                await client.list(JOB, None)

        async def say_nothing(reader, writer):
            await reader.read()
            writer.close()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        short = dataclasses.replace(SETTINGS, request_timeout=0.2)
        async with Client(at(f"http://127.0.0.1:{port}"), short) as client:
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


def test_many_requests_that_are_refused_together_all_go_through():
    async def check():
        async with FakeKube(tokens={"new"}) as kube, kmock.Server(kube):
            tokens = itertools.chain(["old"], itertools.repeat("new"))
            async with Client(lambda: kube.login(next(tokens)), SETTINGS) as client:
                assert await asyncio.gather(*(client.list(JOB, None) for _ in range(5))) == [[]] * 5

    asyncio.run(check())


def test_credentials_that_are_gone_are_asked_for_again_later():
    async def check():
        async with FakeKube(tokens={"new"}) as kube, kmock.Server(kube):
            tokens = ["old"]

            async def login():
                if not tokens:
                    raise SettingsError("KUBECONFIG: cannot be read")
                return await kube.login(tokens.pop())

            async with Client(login, SETTINGS) as client:
                with pytest.raises(Unavailable, match="KUBECONFIG"):
                    await client.list(JOB, None)

    asyncio.run(check())


@pytest.fixture
def service_account(tmp_path, monkeypatch):
    """A pod's mounted credentials."""
    for name, text in (("token", "first"), ("ca.crt", write_certificate(tmp_path)[0].read_text())):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    return tmp_path


def test_a_pod_uses_its_service_account(service_account):
    async def check():
        found = await configuration()
        assert found.host == "https://[fd00::1]:6443"
        assert found.api_key["BearerToken"] == "bearer first"
        assert found.ssl_ca_cert == str(service_account / "ca.crt")
        (service_account / "token").write_text("second")
        assert (await configuration()).api_key["BearerToken"] == "bearer second"

    asyncio.run(check())


def kubeconfig(path, user, **cluster):
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:6443", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(body))
    return str(path)


EXEC = "client.authentication.k8s.io/v1"
CREDENTIAL = {"apiVersion": EXEC, "kind": "ExecCredential", "status": {"token": "t"}}


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "t"}, "Bearer t"),
        ({"username": "a", "password": "b"}, "Basic YTpi"),
        ({"exec": {"command": "printf", "args": ["%s", json.dumps(CREDENTIAL)], "apiVersion": EXEC}}, "Bearer t"),
        ({}, None),
    ],
)  # fmt: skip
def test_a_kubeconfig_names_the_user_in_several_ways(outside, tmp_path, monkeypatch, user, header):
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path / "config", user, **{"insecure-skip-tls-verify": True}))
    found = asyncio.run(configuration())
    assert found.api_key.get("BearerToken") == header
    assert (found.host, found.verify_ssl) == ("https://127.0.0.1:6443", False)


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Not in a pod, and no kubeconfig."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_without_a_cluster_the_remedy_is_told(outside):
    with pytest.raises(SettingsError, match="set KUBECONFIG"):
        asyncio.run(configuration())


@pytest.mark.parametrize("text", [None, "", "[]", "clusters: [", "clusters: []", "just words", "current-context: 3"])
def test_an_unusable_kubeconfig_is_named(outside, tmp_path, monkeypatch, text):
    path = tmp_path / "broken"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(SettingsError, match=r"KUBECONFIG: cannot be read: .*broken"):
        asyncio.run(configuration())


@pytest.mark.parametrize(("valid", "status"), [("second", 200), ("third", 401)])
def test_kopfs_session_renews_its_credentials_in_place(valid, status):
    async def check():
        seen, tokens = [], itertools.chain(["first"], itertools.repeat("second"))

        async def answer(request):
            seen.append(request.headers.get("Authorization"))
            return web.json_response({}, status=200 if seen[-1] == f"Bearer {valid}" else 401)

        async def login():
            return Configuration(host=str(server.make_url("")), api_key={"BearerToken": f"Bearer {next(tokens)}"})

        app = web.Application()
        app.router.add_get("/api", answer)
        async with TestServer(app) as server:
            kopfs = await kopf_session(login)
            async with kopfs.aiohttp_session as session:
                answers = await asyncio.gather(*(session.get(f"{kopfs.server}/api") for _ in range(5)))
                assert [a.status for a in answers] == [status] * 5
        assert set(seen) == {"Bearer first", "Bearer second"}
        assert len(seen) <= 10, "each request is repeated at most once"

    asyncio.run(check())
