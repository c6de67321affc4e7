"""The plan: every history of wishes, failures and busy requests ends with the wanted version alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from zo_runtime.serving.plan import (
    GRACE_SECONDS,
    LONGEST_PAUSE,
    PATIENCE_SECONDS,
    Build,
    Draining,
    Stop,
    Switch,
    Unload,
    View,
    Wait,
    pause_after,
    plan,
)

VERSIONS = ("a", "b", "c", "d")


def view(**changes: object) -> View:
    rest = {"building": None, "built": None, "failed": None, "retry_at": 0.0, "draining": (), "slots": 4}
    return View(**{"wanted": "b", "served": "a", **rest, **changes})


def test_each_step_of_a_switch() -> None:
    assert plan(view(), 0) == Build()
    assert plan(view(building="b"), 0) == Wait()
    assert plan(view(built="b"), 0) == Switch()
    assert plan(view(served="b", draining=(Draining("a", 0, None),)), 99) == Wait()
    assert plan(view(served="b", draining=(Draining("a", 0, 5.0),)), 5.0 + GRACE_SECONDS - 0.01) == Wait()
    assert plan(view(served="b", draining=(Draining("a", 0, 5.0),)), 5.0 + GRACE_SECONDS) == Unload("a")
    assert plan(view(served="b"), 0) == Wait()


def test_a_build_that_nobody_wants_any_more_is_stopped() -> None:
    assert plan(view(building="c"), 0) == Stop()
    assert plan(view(building="b", wanted="a"), 0) == Stop()
    assert plan(view(building="b", wanted=None), 0) == Stop()


def test_a_failure_is_tried_again_in_time_and_another_wish_at_once() -> None:
    assert plan(view(failed="b", retry_at=8.0), 7.9) == Wait()
    assert plan(view(failed="b", retry_at=8.0), 8.0) == Build()
    assert plan(view(failed="c", retry_at=8.0), 0.0) == Build()


def test_the_way_back_to_a_version_that_drains_needs_no_build() -> None:
    assert plan(view(served="c", draining=(Draining("b", 0, None),)), 0) == Switch()


def test_a_switch_waits_for_a_slot_but_not_for_ever() -> None:
    busy = (Draining("x", 0.0, None),)
    assert plan(view(built="b", draining=busy, slots=3), 0) == Switch()
    assert plan(view(built="b", draining=busy, slots=2), 1.0) == Wait()
    assert plan(view(built="b", draining=busy, slots=2), PATIENCE_SECONDS) == Switch()


def test_pauses_grow_and_are_bounded() -> None:
    pauses = [pause_after(n) for n in range(1, 200)]
    assert pauses[0] == 1.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


@dataclass
class World:
    """A replica in which everything goes as the test says, and which complains of forbidden actions."""

    wanted: str | None = None
    served: str | None = None
    building: str | None = None
    built: str | None = None
    failed: str | None = None
    failures: int = 0
    retry_at: float = 0.0
    loaded: dict[str, list[float | None]] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    now: float = 0.0

    def settle(self) -> None:
        for _ in range(100):
            for version, times in self.loaded.items():
                times[1] = None if version in self.busy else (self.now if times[1] is None else times[1])
            draining = tuple(Draining(v, t[0] or 0.0, t[1]) for v, t in self.loaded.items())
            seen = View(self.wanted, self.served, self.building, self.built, self.failed, self.retry_at, draining, 2)
            match plan(seen, self.now):
                case Wait():
                    return
                case Build():
                    assert self.building is None
                    self.building, self.built = self.wanted, None
                case Stop():
                    assert self.building != self.wanted
                    self.building = None
                case Switch():
                    assert self.wanted is not None
                    assert self.wanted == self.built or self.wanted in self.loaded
                    if self.served is not None:
                        self.loaded[self.served] = [self.now, None]
                        self.busy.add(self.served)
                    self.loaded.pop(self.wanted, None)
                    self.served = self.wanted
                case Unload(version):
                    assert version not in self.busy
                    assert version != self.served
                    del self.loaded[version]
        raise AssertionError("the plan does not come to rest")

    def finish_build(self, works: bool) -> None:
        version, self.building = self.building, None
        if version is not None and works:
            self.built, self.failed, self.failures = version, None, 0
        elif version is not None:
            self.failures += 1
            self.failed, self.retry_at = version, self.now + pause_after(self.failures)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.sampled_from([*VERSIONS, None])),
        st.tuples(st.just("built"), st.booleans()),
        st.tuples(st.just("idle"), st.sampled_from(VERSIONS)),
        st.tuples(st.just("time"), st.floats(0.1, 30)),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(EVENTS, st.sampled_from(VERSIONS))
def test_it_always_ends_with_what_is_wanted(events: list[tuple[str, object]], last: str) -> None:
    world = World()
    for event, value in events:
        if event == "want":
            if value != world.wanted:
                world.failed, world.failures = None, 0
            world.wanted = value  # type: ignore[assignment]
        elif event == "built":
            world.finish_build(bool(value))
        elif event == "idle":
            world.busy.discard(str(value))
        else:
            world.now += float(str(value))
        world.settle()
    world.wanted = last
    for _ in range(20):  # from here on everything works, and requests end
        world.settle()
        world.finish_build(works=True)
        world.busy.clear()
        world.now += LONGEST_PAUSE
    world.settle()
    assert (world.served, world.loaded, world.building) == (last, {}, None)
