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


@contextlib.asynccontextmanager
async def locks(*identities):
    async with FakeKube() as kube, kmock.Server(kube), Client(kube.login, LEASED) as client:
        clock = Clock()
        made = [LeaseLock(client, dataclasses.replace(LEASED, identity=name), clock) for name in identities]
        yield kube, clock, made


def holder(kube):
    return kube.find("leases", "l")["spec"]["holderIdentity"]


def test_the_first_holds_and_the_second_waits():
    async def check():
        async with locks("a", "b") as (kube, _, (a, b)):
            await a.acquire()
            waiting = asyncio.create_task(b.acquire())
            await asyncio.sleep(0.3)
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
            await asyncio.sleep(0.3)
            clock.now = 0.9
            await asyncio.sleep(0.3)
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
                await asyncio.sleep(0.2)
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
            await asyncio.sleep(0.25)
            kube.faults.append(lambda _: Refusal(503, "x", "down"))
            clock.now += LEASED.lease_seconds * 2 / 3 + 0.01
            await asyncio.wait_for(keeping, 5)
            assert not a.held

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
        async with locks("a", "b", "c") as (_, _, contenders):
            waiting = {asyncio.create_task(lock.acquire()) for lock in contenders}
            await asyncio.sleep(0.4)
            assert [lock.held for lock in contenders].count(True) == 1
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            assert LEASE.path("default", "l") == "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"

    asyncio.run(check())
