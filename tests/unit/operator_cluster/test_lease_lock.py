"""The Lease: one holder at a time, by clocks that are never compared."""

import asyncio
import contextlib
import dataclasses

import kmock

from fakes.kube import FakeKube, Refusal
from fakes.world import SETTINGS
from zo_operator.cluster.client import Client
from zo_operator.cluster.kinds import LEASE
from zo_operator.cluster.lease import LeaseLock

LEASED = dataclasses.replace(SETTINGS, lease_name="l", lease_namespace="default", lease_seconds=0.7)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Deaf(Client):
    """A client that can be made to hear no answer."""

    deaf = False

    async def get(self, kind, namespace, name):
        if self.deaf:
            await asyncio.Event().wait()
        return await super().get(kind, namespace, name)


@contextlib.asynccontextmanager
async def locks(*identities):
    async with FakeKube() as kube, kmock.Server(kube), Client(kube.login, LEASED) as client:
        clock = Clock()
        made = [LeaseLock(client, dataclasses.replace(LEASED, identity=name), clock) for name in identities]
        yield kube, clock, made


async def looks(kube, number=2):
    """Wait until someone has looked at the Lease again: a second look begins when the first was taken in."""
    before = len(kube.reads)
    while len(kube.reads) < before + number:
        await asyncio.sleep(0.01)


def holder(kube):
    return kube.find("leases", "l")["spec"]["holderIdentity"]


def test_the_first_holds_and_the_second_waits():
    async def check():
        async with locks("a", "b") as (kube, _, (a, b)):
            await a.acquire()
            waiting = asyncio.create_task(b.acquire())
            await looks(kube)
            assert (a.held, b.held, holder(kube)) == (True, False, "a")
            await a.release()
            await asyncio.wait_for(waiting, 5)
            assert (a.held, b.held, holder(kube)) == (False, True, "b")
            assert kube.find("leases", "l")["spec"]["leaseTransitions"] == 2

    asyncio.run(check())


def test_a_silent_holder_loses_it_after_its_duration_by_our_clock():
    async def check():
        async with locks("a", "b") as (kube, clock, (a, b)):
            await a.acquire()
            waiting = asyncio.create_task(b.acquire())
            await looks(kube)
            clock.now = 0.9
            await looks(kube)
            assert not b.held, "the Lease lasts a second"
            clock.now = 1.1
            await asyncio.wait_for(waiting, 5)
            assert holder(kube) == "b"

    asyncio.run(check())


def test_a_holder_whose_clock_is_wrong_keeps_it_as_long_as_it_renews():
    async def check():
        async with locks("a", "b") as (kube, clock, (a, b)):
            await a.acquire()
            kube.edit("leases", "l", {"spec": {"renewTime": "1999-01-01T00:00:00.000000Z"}})
            waiting = asyncio.create_task(b.acquire())
            for number in range(6):
                await looks(kube)
                clock.now += 0.5
                kube.edit("leases", "l", {"spec": {"renewTime": f"1999-01-01T00:00:0{number}.000000Z"}})
            assert not b.held
            waiting.cancel()
            await asyncio.wait({waiting})

    asyncio.run(check())


def test_a_holder_that_cannot_renew_gives_up_before_the_lease_ends():
    async def check():
        async with locks("a") as (kube, clock, (a,)):
            await a.acquire()
            keeping = asyncio.create_task(a.keep())
            await looks(kube)
            kube.faults.append(lambda _: Refusal(503, "x", "down"))
            clock.now += LEASED.lease_seconds * 2 / 3 + 0.01
            await asyncio.wait_for(keeping, 5)
            assert not a.held

    asyncio.run(check())


def test_a_holder_whose_server_does_not_answer_gives_up_before_the_lease_ends():
    async def check():
        async with FakeKube() as kube, kmock.Server(kube), Deaf(kube.login, LEASED) as client:
            lock = LeaseLock(client, dataclasses.replace(LEASED, identity="a"))
            await lock.acquire()
            client.deaf = True
            await asyncio.wait_for(lock.keep(), 5)
            assert not lock.held

    asyncio.run(check())


def test_a_holder_that_was_replaced_gives_up():
    async def check():
        async with locks("a") as (kube, _, (a,)):
            await a.acquire()
            keeping = asyncio.create_task(a.keep())
            kube.edit("leases", "l", {"spec": {"holderIdentity": "b"}})
            await asyncio.wait_for(keeping, 5)
            assert not a.held
            await a.release()
            assert holder(kube) == "b", "what is another's is not released"

    asyncio.run(check())


def test_two_that_race_for_it_leave_one_holder():
    async def check():
        async with locks("a", "b", "c") as (kube, _, contenders):
            waiting = {asyncio.create_task(lock.acquire()) for lock in contenders}
            await looks(kube, 9)
            assert [lock.held for lock in contenders].count(True) == 1
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            assert LEASE.path("default", "l") == "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"

    asyncio.run(check())
