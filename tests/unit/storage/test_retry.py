"""Retries are bounded in number and in time, whatever the failures and the draws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.storage.retry import Retry, Transient


class Clock:
    """Time that passes only when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


def failing(clock: Clock, times: int, seconds: float) -> object:
    """An operation of that duration that works after failing `times` times."""
    calls = iter(range(times + 1))

    def attempt() -> str:
        clock.now += seconds
        number = next(calls)
        if number < times:
            raise Transient(RuntimeError(f"failure {number}"))
        return "done"

    return attempt


@given(
    attempts=st.integers(1, 20),
    failures=st.integers(0, 30),
    seconds=st.floats(0, 30),
    draw=st.floats(0, 1),
)
def test_ends_in_time(attempts: int, failures: int, seconds: float, draw: float) -> None:
    clock = Clock()
    retry = Retry(
        attempts=attempts,
        sleep=clock.sleep,
        clock=lambda: clock.now,
        uniform=lambda low, high: low + draw * (high - low),
    )
    try:
        result = retry.call(failing(clock, failures, seconds))
    except Transient:
        result = None
        assert len(clock.pauses) + 1 == attempts or clock.now + retry.longest_pause > retry.seconds
    assert (result == "done") == (len(clock.pauses) == failures)
    assert len(clock.pauses) < attempts
    assert clock.now <= retry.seconds + seconds
    assert all(pause <= retry.longest_pause for pause in clock.pauses)


def test_the_last_failure_is_the_one_that_is_raised() -> None:
    clock = Clock()
    retry = Retry(attempts=3, sleep=clock.sleep, clock=lambda: clock.now)
    with pytest.raises(Transient, match="failure 2") as caught:
        retry.call(failing(clock, 5, 0.0))
    assert isinstance(caught.value.cause, RuntimeError)


def test_other_errors_pass_at_once() -> None:
    def attempt() -> None:
        raise ValueError("permanent")

    with pytest.raises(ValueError, match="permanent"):
        Retry(sleep=lambda _: pytest.fail("slept")).call(attempt)
