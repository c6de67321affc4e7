"""Rounds that begin at times of `cron`: missed ones, changes of clocks, operators that were away."""

from datetime import UTC, datetime

import pytest

from fakes.schedule_world import BY_DATA, HOURLY, START, ScheduleWorld, at, begun
from zo_operator.reconcile.observed import Apply, Emit
from zo_runtime.rounds.contract import Fresh


def test_a_time_of_cron_looks_at_the_data_and_then_begins():
    w = ScheduleWorld(HOURLY)
    decided = w.settle()
    assert w.plans["nextScheduleTime"] == "2026-05-04T04:00:00Z"
    assert decided.again == (at(4) - START).total_seconds()
    assert w.probe is None
    w.wait(decided.again)
    assert w.plans["lastScheduleTime"] == "2026-05-04T04:00:00Z"
    assert w.plans["nextScheduleTime"] == "2026-05-04T05:00:00Z"
    assert w.probe is not None
    w.look()
    w.settle()
    assert w.rounds == []
    assert w.said("FreshData") == ("False", "NoFreshData")
    assert w.told == ["NoFreshData"]
    assert "pending" not in w.plans
    w.records = 3
    w.now = at(5)
    begun(w)
    assert w.rounds[0]["trigger"] == "Cron"


def test_a_look_from_before_the_time_does_not_decide():
    w = ScheduleWorld({**HOURLY, "freshData": {"examples": 500, "probeSeconds": 300}})
    w.settle()
    w.now = at(4)
    w.settle()
    w.look(Fresh())
    w.settle()
    assert w.plans["probe"] == 2, "the one that ran at the time began before it"
    assert w.probe is not None
    w.records = 2
    w.look()
    w.settle()
    assert w.rounds[0]["trigger"] == "Cron"


def test_with_forbid_a_round_that_runs_is_left_alone_and_the_last_time_is_caught_up():
    w = begun(ScheduleWorld({**HOURLY, **BY_DATA}, records=900))
    before = len(w.jobs)
    decided = w.wait(3 * 3600)
    assert (len(w.rounds), len(w.jobs), w.probe, decided.again) == (1, before, None, None)
    w.finish()
    w.settle()
    assert w.plans["lastScheduleTime"] == "2026-05-04T06:00:00Z"
    assert ("MissedSchedule", "2 scheduled times from 2026-05-04T04:00:00Z on passed unused; one round stands for "
            "them and for 2026-05-04T06:00:00Z") in w.events  # fmt: skip
    w.records = 1
    w.look()
    w.settle()
    assert (w.rounds[0]["number"], w.rounds[0]["trigger"]) == (2, "Cron")


@pytest.mark.parametrize(("deadline", "caught_up"), [(None, True), (7200, True), (600, False)])
def test_an_operator_that_was_away_catches_up_once_within_the_deadline(deadline, caught_up):
    schedule = HOURLY | ({"startingDeadlineSeconds": deadline} if deadline else {})
    w = ScheduleWorld(schedule, records=9)
    w.settle()
    w.now = at(9, 30)
    w.settle()
    assert (w.probe is not None) == caught_up
    [(reason, message)] = w.events
    assert reason == "MissedSchedule"
    assert message.startswith("5 scheduled times from 2026-05-04T04:00:00Z")
    assert ("startingDeadlineSeconds (600)" in message) == (not caught_up)
    assert w.plans["nextScheduleTime"] == "2026-05-04T10:00:00Z"
    if caught_up:
        w.look()
        w.settle()
        assert len(w.rounds) == 1


def test_replace_stops_the_round_that_runs():
    w = begun(ScheduleWorld({**HOURLY, "concurrencyPolicy": "Replace"}, records=9, now=at(3, 59)).at(4, 0))
    first = w.rounds[0]["job"]
    w.now = at(5)
    w.settle()
    assert w.round["metadata"]["name"] == first, "it runs on while the data is looked at"
    w.look()
    w.settle()
    assert [(each["number"], each.get("reason")) for each in w.rounds] == [(2, None), (1, "Replaced")]
    assert w.rounds[1]["outcome"] == "Superseded"
    assert first not in w.jobs
    assert "RoundReplaced" in w.told


def test_looks_that_fail_use_up_a_time_of_cron_at_its_deadline():
    w = ScheduleWorld({**HOURLY, "startingDeadlineSeconds": 50}, records=1)
    w.settle()
    w.now = at(4)
    w.settle()
    w.look_fails()
    w.wait(w.settle().again)
    assert w.now == at(4, 0, 30)
    w.look_fails()
    w.settle()
    w.wait(60)
    assert "MissedSchedule" in w.told
    assert w.probe is None
    assert "pending" not in w.plans


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"cron": "every day"}, "spec.schedule.cron: `every day` is no cron expression"),
        ({"cron": "0 0 30 2 *"}, "spec.schedule.cron: `0 0 30 2 *`"),
        ({"cron": "@daily", "timeZone": "Mars/Olympus"}, "spec.schedule.timeZone: `Mars/Olympus` is no time zone"),
        ({}, "spec.schedule: it says nothing: give `cron`, `freshData` or both"),
        ({"freshData": {}}, "spec.schedule.freshData: it says nothing: give `examples`, `ageSeconds` or both"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_stalled_with_a_remedy(schedule, words):
    w = ScheduleWorld(schedule)
    w.settle()
    assert w.said("Stalled") == ("True", "InvalidSpec")
    message = w.status["conditions"][0]["message"]
    assert message.startswith(words)
    assert "give" in message
    assert w.jobs == {}


def test_zones_and_summer_time():
    w = ScheduleWorld({"cron": "30 2 * * *", "timeZone": "Europe/Berlin"}, now=datetime(2026, 3, 28, 12, tzinfo=UTC))
    w.settle()
    assert w.plans["nextScheduleTime"] == "2026-03-29T01:00:00Z", "02:30 does not exist on that day"
    w.now = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    w.settle()
    assert w.plans["nextScheduleTime"] == "2026-03-30T00:30:00Z"


def test_a_clock_that_goes_back_repeats_no_time():
    w = ScheduleWorld(HOURLY, records=5)
    w.settle()
    w.now = at(4)
    begun(w)
    w.finish()
    w.settle()
    w.now = at(3, 58)
    w.settle()
    assert w.plans["nextScheduleTime"] == "2026-05-04T05:00:00Z"
    w.wait(150)
    assert w.probe is None


def test_a_clock_that_was_years_ahead_is_forgotten():
    w = ScheduleWorld({**HOURLY, **BY_DATA}, now=datetime(2099, 1, 1, 0, 30, tzinfo=UTC))
    w.settle()
    w.look()
    w.settle()
    w.now = datetime(2099, 1, 1, 1, 0, tzinfo=UTC)
    w.settle()
    w.look()
    w.settle()
    w.now = START
    w.settle()
    assert w.plans["nextScheduleTime"] == "2026-05-04T04:00:00Z"
    assert w.probe is not None


def test_another_expression_counts_from_now():
    w = ScheduleWorld(HOURLY)
    w.settle()
    w.schedule = {"cron": "30 * * * *"}
    w.now = at(6, 10)
    w.settle()
    assert w.plans["nextScheduleTime"] == "2026-05-04T06:30:00Z"
    assert w.probe is None
    assert w.told == []


def test_what_is_told_has_one_name_however_often_it_is_planned():
    w = ScheduleWorld(HOURLY, records=5)
    w.settle()
    w.now = at(9, 30)
    first, second = w.plan(), w.plan()
    keys = [action.key for action in first.actions if isinstance(action, Emit)]
    assert keys
    assert keys == [action.key for action in second.actions if isinstance(action, Emit)]
    assert [action for action in first.actions if isinstance(action, Apply)]
