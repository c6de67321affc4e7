"""The work queue: each key at most once at a time, never lost, later where asked."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_operator.reconcile.queue import WorkQueue


def run(test):
    return asyncio.run(test)


def test_a_key_that_is_added_twice_is_worked_on_once():
    async def check():
        queue = WorkQueue(1, 10)
        queue.add("a")
        queue.add("a")
        queue.add("b")
        assert len(queue) == 2
        assert await queue.take() == "a"
        assert await queue.take() == "b"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.take(), 0.01)

    run(check())


def test_a_key_that_is_added_while_worked_on_comes_again_afterwards():
    async def check():
        queue = WorkQueue(1, 10)
        queue.add("a")
        key = await queue.take()
        queue.add("a")
        assert queue.busy()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.take(), 0.01)
        queue.done(key)
        assert await queue.take() == "a"

    run(check())


def test_later_means_later_and_the_earlier_appointment_stands():
    async def check():
        queue, loop = WorkQueue(1, 10), asyncio.get_running_loop()
        queue.add_later("a", 0.05)
        queue.add_later("a", 60)
        start = loop.time()
        await asyncio.wait_for(queue.take(), 5)
        assert 0.03 < loop.time() - start < 4
        queue.done("a")
        queue.add_later("a", 60)
        queue.add_later("a", 0.01)
        await asyncio.wait_for(queue.take(), 5)

    run(check())


def test_pauses_double_up_to_a_limit_and_success_forgives():
    async def check():
        queue = WorkQueue(1.0, 10.0)
        assert [queue.retry("a") for _ in range(6)] == [1, 2, 4, 8, 10, 10]
        assert queue.retry("b") == 1
        queue.forgive("a")
        assert queue.retry("a") == 1
        queue.close()

    run(check())


def test_closing_cancels_appointments():
    async def check():
        queue = WorkQueue(1, 10)
        queue.add_later("a", 0.01)
        queue.close()
        await asyncio.sleep(0.05)
        assert len(queue) == 0

    run(check())


@given(st.lists(st.tuples(st.sampled_from(["add", "take", "done"]), st.sampled_from("abc")), max_size=40))
def test_no_key_is_lost_and_none_is_worked_on_twice_at_once(steps):
    async def check():
        queue, working, owed = WorkQueue(1, 10), [], set()
        for step, key in steps:
            if step == "add":
                queue.add(key)
                owed.add(key)
            elif step == "take" and owed - set(working):
                taken = await asyncio.wait_for(queue.take(), 1)
                assert taken not in working
                working.append(taken)
                owed.discard(taken)
            elif step == "done" and key in working:
                working.remove(key)
                queue.done(key)
        for key in list(working):
            queue.done(key)
        left = {await asyncio.wait_for(queue.take(), 1) for _ in owed}
        assert left == owed

    run(check())
