"""A schedule and the hands of users: suspending, skipping, restarting, changing the spec."""

import pytest

from fakes.schedule_world import BY_DATA, HOURLY, ScheduleWorld, at, begun
from zo_operator import names


def test_suspension_stops_looks_and_rounds_and_forgets_times_that_pass():
    w = ScheduleWorld({**HOURLY, **BY_DATA}, records=900)
    w.settle()
    w.spec["suspend"] = True
    decided = w.settle()
    assert w.phase == "Suspended"
    assert w.jobs == w.maps == {}
    assert decided.again is None
    w.wait(5 * 3600)
    assert w.jobs == {}
    w.spec["suspend"] = False
    w.settle()
    assert w.phase == "Waiting"
    assert "MissedSchedule" not in w.told
    assert w.plans["nextScheduleTime"] == "2026-05-04T09:00:00Z"
    assert w.probe is not None


def test_a_suspended_round_goes_on_as_the_same_round():
    w = begun(ScheduleWorld(BY_DATA, records=900))
    w.spec["suspend"] = True
    w.settle()
    assert w.phase == "Suspended"
    w.spec["suspend"] = False
    w.settle()
    assert [each["number"] for each in w.rounds] == [1]
    assert w.round is not None


def test_a_change_of_what_is_learned_replaces_a_round_that_runs_and_begins_none():
    w = begun(ScheduleWorld(BY_DATA, records=900))
    w.spec["data"] = {"train": {"uri": "s3://data/x"}, "maxExamples": 7}
    w.settle()
    assert [(each["number"], each.get("reason")) for each in w.rounds] == [(2, None), (1, "SpecChanged")]
    assert w.rounds[0]["dataRecords"] == 900
    w.finish()
    w.settle()
    w.look()
    w.settle()
    w.spec["data"] = {"train": {"uri": "s3://data/x"}, "maxExamples": 8}
    w.settle()
    assert w.phase == "Waiting"
    assert w.round is None


def test_restart_asks_for_a_look_and_a_round():
    w = ScheduleWorld({"cron": "0 0 1 1 *"})
    w.annotations[f"{names.GROUP}/restart"] = "before"
    w.settle()
    assert w.probe is None
    w.annotations[f"{names.GROUP}/restart"] = "now"
    w.records = 1
    begun(w)
    assert w.rounds[0]["trigger"] == "Manual"
    w.finish()
    w.settle()
    assert w.probe is None
    w.annotations[f"{names.GROUP}/restart"] = "once more"
    w.settle()
    w.look()
    w.settle()
    assert w.round is None
    assert "NoFreshData" in w.told


@pytest.mark.parametrize("by", ["annotation", "spec"])
def test_the_round_that_runs_is_skipped(by):
    w = begun(ScheduleWorld({**BY_DATA}, records=900))
    if by == "annotation":
        w.annotations[names.ANNOTATION_SKIP] = "1"
    else:
        w.schedule["skipRound"] = 1
    w.settle()
    assert w.round is None
    assert (w.rounds[0]["outcome"], w.rounds[0]["reason"]) == ("Superseded", "Skipped")
    assert "RoundSkipped" in w.told
    assert w.phase == "Waiting"
    w.look()
    w.settle()
    assert w.round is None, "the same data does not ask for the round that was skipped"
    w.records = 1400
    w.wait(300)
    w.look()
    w.settle()
    assert (w.rounds[0]["number"], w.rounds[0]["dataRecords"]) == (2, 1400)
    assert w.round is not None


def test_the_next_round_is_skipped():
    w = ScheduleWorld(HOURLY, records=5)
    w.annotations[names.ANNOTATION_SKIP] = "1"
    w.settle()
    w.now = at(4)
    w.settle()
    w.look()
    w.settle()
    assert w.round is None
    assert (w.rounds[0]["number"], w.rounds[0]["reason"]) == (1, "Skipped")
    w.now = at(5)
    begun(w)
    assert w.rounds[0]["number"] == 2


@pytest.mark.parametrize("value", ["soon", "-1", "0", "²"])
def test_what_cannot_be_skipped_is_told_once(value):
    w = ScheduleWorld(HOURLY)
    w.settle()
    w.annotations[names.ANNOTATION_SKIP] = value
    w.settle()
    w.settle()
    assert w.told == ["SkipIgnored"]


def test_forbid_ends_a_look_that_replace_began():
    w = begun(ScheduleWorld({**BY_DATA, "concurrencyPolicy": "Replace"}, records=900))
    w.wait(300)
    assert w.probe is not None
    w.schedule["concurrencyPolicy"] = "Forbid"
    decided = w.settle()
    assert w.probe is None
    assert decided.again is None


def test_suspended_between_two_rounds_is_suspended_though_the_last_rounds_job_is_there():
    w = begun(ScheduleWorld(BY_DATA, records=900))
    w.finish()
    w.settle()
    assert w.jobs
    w.spec["suspend"] = True
    w.settle()
    assert w.phase == "Suspended"
    assert w.said("Suspended")[0] == "True"
    assert w.said("Reconciling")[0] == "False"
