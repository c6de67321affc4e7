"""The surveyor: finds replicas by label, asks them beside the reconciles, and tells what is new."""

import asyncio
import base64

import pytest

from zo_operator.cluster.surveyor import Surveyor
from zo_operator.errors import Forbidden, NotFound, Refused, Unavailable
from zo_operator.reconcile.replicas import Follow, Problem
from zo_runtime.serving.contract import ServedAdapter, ServedAdapters

FOLLOW = Follow("ns", "app=vllm", 8000, "m")
SILENT = Problem("Unreachable", "no connection")


def pod(name, ip="10.0.0.1", phase="Running", **status):
    meta = {"name": name, "namespace": "ns", "uid": f"uid-{name}"}
    return {"metadata": meta, "status": {"phase": phase, "podIP": ip, **status}}


def serves(version):
    return ServedAdapters(pod="p", adapters=(ServedAdapter(name="m", state="Serving", version=version),))


class FakeApi:
    """Pods and Secrets, or the error that asking for them gives."""

    def __init__(self, *pods):
        self.pods, self.secret, self.error, self.selectors = list(pods), None, None, []

    async def list(self, _kind, namespace, selector):
        self.selectors.append((namespace, selector))
        if self.error is not None:
            raise self.error
        return self.pods

    async def get(self, _kind, _namespace, _name):
        if isinstance(self.secret, Exception):
            raise self.secret
        return {"data": self.secret}


class Replicas:
    """Answers by host; a host without one is silent."""

    def __init__(self, answers):
        self.answers, self.keys, self.busy, self.most = answers, [], 0, 0

    async def read(self, host, port, api_key):
        assert port == 8000
        self.keys.append(api_key)
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        return self.answers.get(host, SILENT)


def run(check):
    async def scene():
        await check()

    asyncio.run(scene())


async def looks(surveyor, uid="u"):
    await asyncio.sleep(0.03)
    return surveyor.latest(uid)


def test_it_tells_once_for_each_answer_that_is_new():
    async def check():
        touched, api, replicas = (
            [],
            FakeApi(pod("b", "h2"), pod("a", "h1")),
            Replicas({"h1": serves(1), "h2": serves(1)}),
        )
        surveyor = Surveyor(api, replicas, 0.005, touched.append)
        surveyor.follow("u", FOLLOW)
        survey = await looks(surveyor)
        assert touched == ["u"]
        assert [(r.pod, r.served.version) for r in survey.replicas] == [("a", 1), ("b", 1)]
        assert api.selectors[0] == ("ns", "app=vllm")
        replicas.answers["h1"] = serves(2)
        survey = await looks(surveyor)
        assert touched == ["u", "u"]
        assert survey.replicas[0].served.version == 2
        surveyor.follow("u", None)
        asked = len(replicas.keys)
        assert await looks(surveyor) is None
        assert len(replicas.keys) == asked

    run(check)


def test_other_replicas_are_a_new_question():
    async def check():
        surveyor = Surveyor(FakeApi(pod("a", "h1")), Replicas({"h1": serves(1)}), 0.005, lambda _: None)
        surveyor.follow("u", FOLLOW)
        assert await looks(surveyor) is not None
        other = Follow("ns", "app=other", 8000, "m")
        surveyor.follow("u", other)
        assert surveyor.latest("u") is None
        assert (await looks(surveyor)).follow == other
        surveyor.close()

    run(check)


def test_one_missed_answer_is_forgiven_and_two_are_not():
    async def check():
        surveyor = Surveyor(FakeApi(pod("a", "h1")), replicas := Replicas({"h1": serves(1)}), 10, lambda _: None)
        surveyor.follow("u", FOLLOW)
        await looks(surveyor)
        watch = surveyor._watches["u"]
        del replicas.answers["h1"]
        first = await surveyor._look(watch)
        assert first.replicas[0].served.version == 1
        second = await surveyor._look(watch)
        assert second.replicas[0].problem == SILENT
        replicas.answers["h1"] = Problem("PluginMissing", "404")
        assert (await surveyor._look(watch)).replicas[0].problem.reason == "PluginMissing"
        surveyor.close()

    run(check)


def test_which_pods_are_replicas():
    waiting = [{"name": "vllm", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}]
    going = pod("going", "h1")
    going["metadata"]["deletionTimestamp"] = "2026-05-04T03:00:00Z"
    pods = [
        pod("done", phase="Succeeded"), pod("evicted", phase="Failed"), going, pod("new", None, "Pending"),
        pod("crashing", "h9", containerStatuses=waiting), pod("good", "h1"),
        pod("pulling", None, "Pending", containerStatuses=[
            {"name": "vllm", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "typo"}}}
        ]),
    ]  # fmt: skip

    async def check():
        surveyor = Surveyor(FakeApi(*pods), Replicas({"h1": serves(1)}), 10, lambda _: None)
        surveyor.follow("u", FOLLOW)
        found = {r.pod: r.problem.reason if r.problem else "" for r in (await looks(surveyor)).replicas}
        assert found == {"crashing": "CrashLoopBackOff", "good": "", "new": "Pending", "pulling": "ImagePullBackOff"}
        surveyor.close()

    run(check)


def test_an_api_server_that_is_away_says_nothing_of_the_replicas():
    async def check():
        api = FakeApi(pod("a", "h1"))
        surveyor = Surveyor(api, Replicas({"h1": serves(1)}), 0.005, lambda _: None)
        surveyor.follow("u", FOLLOW)
        before = await looks(surveyor)
        api.error = Unavailable(503, "down")
        assert await looks(surveyor) == before
        api.error = Refused(400, "unable to parse selector")
        assert (await looks(surveyor)).problem == Problem("Refused", "unable to parse selector")
        api.error = None
        assert await looks(surveyor) == before
        surveyor.close()

    run(check)


def test_many_replicas_are_not_asked_all_at_once():
    async def check():
        replicas = Replicas({})
        surveyor = Surveyor(FakeApi(*(pod(f"p{n}", f"h{n}") for n in range(200))), replicas, 10, lambda _: None)
        surveyor.follow("u", FOLLOW)
        survey = await looks(surveyor)
        assert len(survey.replicas) == 200
        assert replicas.most <= 64
        surveyor.close()

    run(check)


def test_the_key_is_read_again_when_a_replica_refuses_it():
    async def check():
        api, replicas = FakeApi(pod("a", "h1")), Replicas({"h1": serves(1)})
        api.secret = {"k": base64.b64encode(b"one\n").decode()}
        surveyor = Surveyor(api, replicas, 0.005, lambda _: None)
        surveyor.follow("u", Follow("ns", "app=vllm", 8000, "m", ("vllm", "k")))
        await looks(surveyor)
        api.secret = {"k": base64.b64encode(b"two").decode()}
        await looks(surveyor)
        assert set(replicas.keys) == {"one"}
        replicas.answers["h1"] = Problem("Unauthorized", "401")
        await looks(surveyor)
        assert replicas.keys[-1] == "two"
        surveyor.close()

    run(check)


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (Forbidden(403, "no"), "SecretForbidden"), (NotFound(404, "no"), "SecretNotFound"), ({}, "SecretKeyNotFound"),
        (None, "SecretKeyNotFound"), ({"k": "***"}, "SecretInvalid"), ({"k": ""}, "SecretInvalid"),
        ({"k": base64.b64encode("schlüssel".encode()).decode()}, "SecretInvalid"),
        ({"k": base64.b64encode(b"a\r\nX-Header: b").decode()}, "SecretInvalid"),
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_had_is_told_and_nobody_is_asked(secret, reason):
    async def check():
        api, replicas = FakeApi(pod("a", "h1")), Replicas({"h1": serves(1)})
        api.secret = secret
        surveyor = Surveyor(api, replicas, 10, lambda _: None)
        surveyor.follow("u", Follow("ns", "app=vllm", 8000, "m", ("vllm", "k")))
        survey = await looks(surveyor)
        assert survey.problem.reason == reason
        assert "spec.serving.apiKeySecretRef" in survey.problem.message
        assert replicas.keys == []
        surveyor.close()

    run(check)
