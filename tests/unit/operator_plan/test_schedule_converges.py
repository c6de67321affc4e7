"""Whatever happens to a scheduled resource, its plan comes to rest, breaks no promise, and learns from what comes."""

import copy
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.schedule_world import ACCEPTED, REJECTED, ScheduleWorld
from zo_operator import names
from zo_operator.api.status import parse_status

schedules = st.builds(
    lambda cron, zone, deadline, policy, data, warm, limits: {
        **({"cron": cron, "timeZone": zone} if cron else {}),
        **({"startingDeadlineSeconds": deadline} if deadline else {}),
        **({"freshData": data} if data or not cron else {}),
        **limits,
        "concurrencyPolicy": policy,
        "warmStart": warm,
    },
    cron=st.sampled_from([None, "*/10 * * * *", "0 * * * *", "30 2 * * *", "@daily"]),
    zone=st.sampled_from(["Etc/UTC", "Europe/Berlin", "America/New_York"]),
    deadline=st.sampled_from([None, 60, 7200]),
    policy=st.sampled_from(["Forbid", "Replace"]),
    data=st.sampled_from([{"examples": 100}, {"ageSeconds": 1800}, {"examples": 500, "ageSeconds": 86400}]),
    warm=st.booleans(),
    limits=st.sampled_from([{}, {"successfulRoundsHistoryLimit": 1, "failedRoundsHistoryLimit": 0}]),
)
# Before clocks change in spring and in autumn, and on no special day.
starts = st.sampled_from(
    [
        datetime(2026, 3, 28, 22, 14, 5, tzinfo=UTC),
        datetime(2026, 10, 24, 22, 14, 5, tzinfo=UTC),
        datetime(2026, 7, 1, tzinfo=UTC),
    ]
)
happenings = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1, 59, 300, 1800, 3600, 7 * 3600, 86400, -30, -7200, -864000])),
    st.tuples(st.just("records"), st.sampled_from([1, 99, 100, 700])),
    st.tuples(st.just("look"), st.sampled_from([None, ("StorageUnavailable", 5), ("InvalidData", 3)])),
    st.tuples(st.just("look"), st.none()),
    st.tuples(st.just("round"), st.sampled_from([ACCEPTED, REJECTED, "fail"])),
    st.tuples(st.just("killed"), st.integers(0, 4)),
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("annotate"), st.tuples(st.sampled_from(["skip-round", "restart"]), st.sampled_from("123x"))),
    st.tuples(st.just("spec"), st.sampled_from([10, 20])),
    st.tuples(st.just("pods"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("schedule"), schedules),
    st.tuples(st.just("removed"), st.none()),
)


def happen(w, what, how):
    if what == "wait":
        w.now += timedelta(seconds=how)
    elif what == "records":
        w.oldest = w.oldest or w.now
        w.records += how
    elif what == "look" and w.probe is not None:
        w.look() if how is None else w.look_fails(*how)
    elif what == "round" and w.round is not None and not w.round["spec"].get("suspend"):
        w.fail() if how == "fail" else w.finish(how)
    elif what == "killed":
        w.step(killed=how)
    elif what == "suspend":
        w.spec["suspend"] = how
    elif what == "annotate":
        w.annotations[f"{names.GROUP}/{how[0]}"] = how[1]
    elif what == "spec":
        w.spec["data"] = {"train": {"uri": "s3://data/x"}, "maxExamples": how}
    elif what == "pods":
        w.spec["runtime"] = {"nodeSelector": {"a": how}}
    elif what == "schedule":
        w.schedule = copy.deepcopy(how)
    elif what == "removed":
        w.jobs.clear()
        w.pods.clear()


def check(w, decided):
    """What holds whenever there is nothing left to do."""
    status = parse_status(w.status)
    state = {c.type: c.status for c in status.conditions}
    assert list(state) == ["Ready", "Reconciling", "Stalled", "Suspended", "Complete", "FreshData"]
    assert (state["Ready"] == "Unknown") == (state["Reconciling"] == "True")
    assert not (state["Reconciling"] == state["Stalled"] == "True")
    assert decided.again is None or decided.again > 0
    numbers = [each.number for each in status.rounds]
    assert numbers == sorted(set(numbers), reverse=True)
    assert all(each.outcome is not None for each in status.rounds[1:])
    running = w.round
    if w.spec.get("suspend"):
        assert w.probe is None
        assert running is None or running["spec"]["suspend"]
        return
    if running is not None:
        assert running["metadata"]["name"] == status.rounds[0].job
        assert status.rounds[0].outcome is None
        assert w.probe is None or w.schedule["concurrencyPolicy"] == "Replace"
        assert state["Ready"] == "Unknown"
    else:
        assert w.probe is not None or decided.again is not None, "it would sleep for ever"
        assert status.phase in ("Waiting", "Failed")


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(schedules, starts, st.lists(happenings, max_size=25))
def test_it_comes_to_rest_whatever_happens(schedule, start, story):
    w = ScheduleWorld(copy.deepcopy(schedule), now=start)
    check(w, w.settle())
    begun = 0
    for what, how in story:
        before = len(w.rounds[:1]) and w.rounds[0]["number"]
        happen(w, what, how)
        check(w, w.settle())
        number = len(w.rounds[:1]) and w.rounds[0]["number"]
        assert number - before in (0, 1, 2), "a round may be superseded by the spec and skipped, no more"
        begun = max(begun, number)
    live_on(w)


def live_on(w):
    """Then nothing more goes wrong: all that is there is learned from."""
    w.spec["suspend"] = False
    w.schedule = {"freshData": {"examples": 100}}
    w.annotations.clear()
    w.records += 5000
    w.oldest = w.oldest or w.now
    for _ in range(60):
        decided = w.settle()
        check(w, decided)
        if w.round is not None:
            w.finish()
            return
        if w.probe is not None:
            w.look()
        else:
            w.now += timedelta(seconds=decided.again)
    raise AssertionError("nothing is learned any more")


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(schedules, starts, st.lists(happenings, max_size=12), st.integers(0, 5))
def test_an_operator_that_is_killed_makes_no_difference(schedule, start, story, survived):
    """Killed between any two actions, the next one ends where an undisturbed one does, with the same Jobs."""
    w = ScheduleWorld(copy.deepcopy(schedule), now=start)
    w.settle()
    for what, how in story:
        happen(w, what, how)
        other = copy.deepcopy(w)
        w.settle()
        other.step(killed=survived)
        other.settle()
        assert other.status == w.status
        assert sorted(other.jobs) == sorted(w.jobs)
        assert sorted(other.maps) == sorted(w.maps)


@settings(max_examples=100, deadline=None)
@given(schedules.filter(lambda schedule: "cron" in schedule), starts, st.lists(st.integers(1, 20000), max_size=20))
def test_a_time_of_cron_is_acted_on_or_told_but_never_twice(schedule, start, pauses):
    """Over any absences of the operator, times that were acted on and times that were told as missed add up."""
    w = ScheduleWorld({**schedule, "concurrencyPolicy": "Forbid"}, now=start)
    w.schedule.pop("freshData", None)
    w.settle()
    handled = []
    for pause in pauses:
        w.now += timedelta(seconds=pause)
        w.settle()
        handled.append(w.plans.get("lastScheduleTime"))
        if w.probe is not None:
            w.look()
            w.settle()
    seen = [time for time in handled if time]
    assert seen == sorted(seen)
    told = [message for reason, message in w.events if reason in ("MissedSchedule", "NoFreshData")]
    acted = set(seen)
    for time in acted:
        assert any(time in message for message in told), f"{time} was passed over in silence"
