"""The poller: follows leaders, tells what is new, and lets one silent pod hold up nobody."""

import asyncio

from zo_operator.cluster.poller import Poller
from zo_operator.reconcile.observed import Leader
from zo_runtime.progress import Progress


class Pods:
    """Answers by URL; a URL without an answer hangs for a while, as a pod behind a closed network does."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    async def read(self, url):
        self.asked.append(url)
        if url not in self.answers:
            await asyncio.sleep(0.2)
            return None
        return self.answers[url]


def at(step, eta=None):
    return Progress(phase="Training", step=step, eta_seconds=eta)


def test_it_tells_once_for_each_answer_that_is_new():
    async def check():
        touched, pods = [], Pods({"a": at(1)})
        poller = Poller(pods, 0.01, touched.append)
        poller.follow("u", Leader("pod", "a"))
        await asyncio.sleep(0.1)
        assert touched == ["u"]
        assert poller.latest("u").progress.step == 1
        pods.answers["a"] = at(2)
        await asyncio.sleep(0.1)
        assert touched == ["u", "u"]
        poller.follow("u", None)
        asked = len(pods.asked)
        await asyncio.sleep(0.05)
        assert len(pods.asked) == asked
        assert poller.latest("u") is None

    asyncio.run(check())


def test_another_pod_is_another_leader():
    async def check():
        pods = Pods({"a": at(1), "b": at(9)})
        poller = Poller(pods, 0.01, lambda _: None)
        poller.follow("u", Leader("first", "a"))
        await asyncio.sleep(0.05)
        poller.follow("u", Leader("second", "b"))
        assert poller.latest("u") is None
        await asyncio.sleep(0.05)
        reading = poller.latest("u")
        assert (reading.pod, reading.progress.step) == ("second", 9)
        poller.close()

    asyncio.run(check())


def test_silent_pods_hold_up_nobody_and_a_failed_question_forgets_nothing():
    async def check():
        touched, pods = [], Pods({"good": at(1)})
        poller = Poller(pods, 0.01, touched.append)
        for number in range(30):
            poller.follow(f"silent-{number}", Leader("p", f"silent-{number}"))
        poller.follow("u", Leader("pod", "good"))
        await asyncio.sleep(0.1)
        assert touched == ["u"]
        del pods.answers["good"]
        await asyncio.sleep(0.3)
        assert poller.latest("u").progress.step == 1
        poller.close()

    asyncio.run(check())


def test_a_run_that_is_about_to_end_is_asked_sooner():
    poller = Poller(Pods({}), 10.0, lambda _: None)
    assert [poller._pause(answer) for answer in (None, at(1), at(1, 100.0), at(1, 4.0), at(1, 0.0))] == [
        10,
        10,
        10,
        4,
        1,
    ]
