"""Rounds that begin by themselves: by time, by data, by hand; skipped, replaced, failed, rejected, missed."""

from datetime import UTC, datetime, timedelta

import pytest

from fakes.schedule_world import ACCEPTED, REJECTED, START, ScheduleWorld, sha
from zo_operator import names
from zo_operator.reconcile.observed import Apply, Emit
from zo_runtime.rounds.contract import Fresh

HOURLY = {"cron": "0 * * * *"}
BY_DATA = {"freshData": {"examples": 500, "probeSeconds": 300}}


def at(hour, minute=0, second=0, day=4):
    return datetime(2026, 5, day, hour, minute, second, tzinfo=UTC)


def begun(w):
    """Let the look that is due find what there is, and the round begin."""
    w.settle()
    w.look()
    w.settle()
    assert w.round is not None
    return w


def test_the_first_look_is_at_once_and_the_first_round_when_there_is_enough():
    w = ScheduleWorld(BY_DATA)
    w.settle()
    assert w.phase == "Waiting"
    assert w.said("Ready") == ("True", "Waiting")
    assert w.said("FreshData") == ("Unknown", "NotProbed")
    assert w.said("Reconciling")[0] == w.said("Stalled")[0] == w.said("Complete")[0] == "False"
    assert w.round is None
    assert w.rounds == []
    w.records = 499
    w.look()
    again = w.settle().again
    assert w.said("FreshData") == ("True", "FreshRecords")
    assert w.plans["fresh"]["records"] == 499
    assert (w.round, w.probe) == (None, None)
    assert 0 < again <= 300
    w.records = 500
    w.wait(again)
    w.look()
    w.settle()
    assert w.phase == "Pending"
    assert w.said("FreshData") == ("Unknown", "Learning")
    [first] = w.rounds
    assert (first["number"], first["trigger"], first["dataRecords"]) == (1, "FreshData", 500)
    assert w.orders == [{"number": 1}]
    assert w.probe is None


def test_rounds_follow_each_other_and_continue_from_what_is_served():
    w = begun(ScheduleWorld(BY_DATA, records=800))
    w.finish()
    w.settle()
    assert w.phase == "Waiting"
    assert w.rounds[0]["outcome"] == "Completed"
    assert w.rounds[0]["verdict"]["accepted"] is True
    assert "Completed" in w.told
    assert w.probe is not None, "what is left may be enough for another round at once"
    w.records = 600
    w.look()
    w.settle()
    assert [each["number"] for each in w.rounds] == [2, 1]
    served = {"version": 1, "sha256": sha(1)}
    assert w.orders[-1] == {"number": 2, "base": served, "served": served}
    w.finish(REJECTED)
    w.settle()
    assert w.rounds[0]["outcome"] == "Rejected"
    assert w.said("Ready") == ("True", "Waiting")
    assert "Rejected" in w.told
    w.records = 500
    w.look()
    w.settle()
    assert w.orders[-1] == {"number": 3, "base": served, "served": served}, "a rejected version is never a base"


def test_a_round_may_start_anew_each_time():
    w = begun(ScheduleWorld({**BY_DATA, "warmStart": False}, records=800))
    w.finish()
    w.records = 500
    begun(w)
    assert w.orders[-1] == {"number": 2, "served": {"version": 1, "sha256": sha(1)}}


def test_what_is_served_is_the_base_even_where_a_newer_version_was_rolled_back():
    w = begun(ScheduleWorld(BY_DATA, records=800))
    w.finish()
    w.settle()
    w.status["rounds"][0]["outcome"] = "RolledBack"
    w.records = 500
    begun(w)
    assert w.orders[-1] == {"number": 2}


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


def test_two_triggers_at_once_begin_one_round():
    w = ScheduleWorld({**HOURLY, **BY_DATA}, records=900, now=at(3, 59, 59))
    w.settle()
    w.now = at(4)
    w.look()
    w.settle()
    assert len(w.rounds) == 1
    w.finish()
    w.settle()
    w.look()
    w.settle()
    assert len(w.rounds) == 1
    assert w.round is None


def test_the_age_of_data_begins_a_round_between_two_looks():
    w = ScheduleWorld({"freshData": {"ageSeconds": 3600, "probeSeconds": 86400}}, records=7)
    w.oldest = START - timedelta(minutes=30)
    w.settle()
    w.look()
    decided = w.settle()
    assert w.round is None
    assert decided.again == 1800
    w.wait(1800)
    assert w.rounds[0]["trigger"] == "FreshData"


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


def test_replace_counts_only_what_the_round_that_runs_did_not_find():
    w = begun(ScheduleWorld({**BY_DATA, "concurrencyPolicy": "Replace"}, records=500))
    w.records = 999
    w.wait(300)
    w.look()
    w.settle()
    assert len(w.rounds) == 1
    w.records = 1000
    w.wait(300)
    w.look()
    w.settle()
    assert [each["number"] for each in w.rounds] == [2, 1]


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


def test_suspended_between_two_rounds_is_suspended_though_the_last_rounds_job_is_there():
    w = begun(ScheduleWorld(BY_DATA, records=900))
    w.finish()
    w.settle()
    assert w.jobs
    w.spec["suspend"] = True
    w.settle()
    assert w.phase == "Suspended"
    assert w.said("Suspended")[0] == "True" and w.said("Reconciling")[0] == "False"


def test_a_failed_round_is_stalled_and_tried_again_after_pauses_that_grow():
    w = begun(ScheduleWorld(BY_DATA, records=900))
    waits = []
    for number in (1, 2, 3):
        w.fail()
        w.settle()
        assert w.phase == "Failed"
        assert w.said("Stalled") == ("True", "StorageUnavailable")
        assert w.plans["failures"] == number
        w.look()
        began = w.now
        while w.round is None:
            w.wait(w.settle().again)
            if w.probe is not None:
                w.look()
                w.settle()
        waits.append((w.now - began).total_seconds())
        assert w.rounds[0]["number"] == number + 1
        assert w.said("Stalled")[0] == "False"
    assert waits == [300, 600, 1200]
    w.finish()
    w.settle()
    assert "failures" not in w.plans
    assert w.said("Ready") == ("True", "Waiting")


def test_a_failed_round_is_tried_again_at_the_next_time_as_by_a_cron_job():
    w = begun(ScheduleWorld(HOURLY, records=5).at(4, 0))
    w.fail()
    w.settle()
    assert w.said("Stalled")[0] == "True"
    w.now = at(5)
    w.settle()
    assert w.said("Stalled")[0] == "True", "until the next round begins"
    w.look()
    w.settle()
    assert [each["number"] for each in w.rounds] == [2, 1]


def test_a_mended_spec_tries_a_failed_round_at_once():
    w = begun(ScheduleWorld(BY_DATA, records=900))
    w.fail(3, "InvalidData")
    w.settle()
    w.spec["data"] = {"train": {"uri": "s3://data/x", "format": "csv"}}
    w.settle()
    assert (w.rounds[0]["number"], w.rounds[0]["trigger"]) == (2, "FreshData")
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


def test_what_was_found_in_other_data_decides_nothing():
    w = ScheduleWorld({"freshData": {"ageSeconds": 60, "probeSeconds": 86400}}, records=5)
    w.settle()
    w.look()
    w.settle()
    w.spec["data"] = {"train": {"uri": "s3://data/other"}}
    w.wait(60)
    assert w.round is None
    assert w.probe is not None
    w.look(Fresh())
    w.settle()
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


def test_the_rounds_end_with_the_last_one():
    w = begun(ScheduleWorld({**HOURLY, **BY_DATA, "maxRounds": 1}, records=900))
    w.finish()
    decided = w.settle()
    assert w.phase == "Succeeded"
    assert w.said("Complete") == ("True", "MaxRoundsReached")
    assert decided.again is None
    w.wait(86400)
    assert w.probe is None
    w.schedule["maxRounds"] = 2
    w.settle()
    assert w.phase == "Waiting"
    assert w.probe is not None


def test_a_look_that_fails_is_told_and_tried_again_after_pauses_that_grow():
    w = ScheduleWorld(BY_DATA, records=900)
    w.settle()
    waits = []
    for _ in range(10):
        w.look_fails()
        decided = w.settle()
        waits.append(decided.again)
        assert w.said("FreshData") == ("Unknown", "StorageUnavailable")
        assert w.said("Ready") == ("True", "Waiting"), "the storage may be back at the next look"
        w.wait(decided.again)
        assert w.probe is not None
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert w.told == ["StorageUnavailable"]
    begun(w)
    assert "problem" not in w.plans


def test_a_look_that_cannot_succeed_needs_someone():
    w = ScheduleWorld(BY_DATA)
    w.settle()
    w.look_fails("InvalidData", 3, "data.train: no column `label`")
    w.settle()
    assert w.phase == "Failed"
    assert w.said("Stalled") == ("True", "InvalidData")
    assert ("InvalidData", "looking at the data: data.train: no column `label`") in w.events
    w.wait(30)
    w.look()
    w.settle()
    assert w.phase == "Waiting", "someone mended it"


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


def test_a_look_without_a_word_is_a_failure():
    w = ScheduleWorld(BY_DATA)
    w.settle()
    w.look()
    w.pods.clear()
    w.settle()
    assert w.said("FreshData") == ("Unknown", "NoResult")


def test_a_job_of_a_look_that_someone_removes_comes_back():
    w = ScheduleWorld(BY_DATA)
    w.settle()
    w.jobs.clear()
    w.settle()
    assert w.probe is not None
    assert w.plans["probe"] == 1


def test_a_changed_object_is_told_when_it_is_found():
    w = ScheduleWorld(BY_DATA)
    w.settle()
    found = Fresh(changed=("a.jsonl",), changed_count=1)
    w.look(found)
    w.settle()
    assert [message for reason, message in w.events if reason == "DataChanged"] == [
        "1 objects are others than were learned from, and are not learned again: a.jsonl"
    ]
    w.wait(300)
    w.look(found)
    w.settle()
    assert w.told.count("DataChanged") == 1
    condition = next(c for c in w.status["conditions"] if c["type"] == "FreshData")
    assert "a.jsonl" in condition["message"]


def test_the_job_of_a_look_asks_for_no_gpu():
    w = ScheduleWorld(BY_DATA)
    w.spec["runtime"] = {
        "nodeSelector": {"gpu": "h100", "kubernetes.io/arch": "amd64"},
        "affinity": {"nodeAffinity": {}},
        "cacheVolume": {"persistentVolumeClaim": {"claimName": "weights", "subPath": "hub"}},
        "tolerations": [{"key": "team"}],
    }
    w.settle()
    job = w.probe
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["command"] == ["zo", "probe", "/etc/zofinetune/zofinetune.yaml"]
    assert "limits" not in container["resources"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert "affinity" not in pod
    assert pod["tolerations"] == [{"key": "team"}]
    assert not any("persistentVolumeClaim" in volume for volume in pod["volumes"])
    assert job["metadata"]["name"] in w.maps
    assert "round" not in w.maps[job["metadata"]["name"]]["data"]["zofinetune.yaml"]


def test_the_history_keeps_so_many_of_each_kind_and_what_is_served():
    w = ScheduleWorld({**BY_DATA, "successfulRoundsHistoryLimit": 1, "failedRoundsHistoryLimit": 2})
    for number in range(1, 9):
        w.records = 500
        begun(w)
        w.finish(ACCEPTED if number <= 2 else REJECTED)
        w.settle()
    assert [(each["number"], each["outcome"]) for each in w.rounds] == [
        (8, "Rejected"), (7, "Rejected"), (2, "Completed")
    ]  # fmt: skip
    w.records = 500
    begun(w)
    assert w.orders[-1]["base"] == {"version": 2, "sha256": sha(2)}
    assert w.rounds[0]["number"] == 9


def test_a_schedule_on_a_log_of_single_rounds_and_its_removal():
    w = ScheduleWorld(None)
    w.settle()
    assert w.orders == [None]
    w.finish(None)
    w.settle()
    assert w.phase == "Succeeded"
    w.schedule = dict(BY_DATA)
    w.records = 500
    begun(w)
    version = {"version": 1, "sha256": sha(1)}
    assert w.orders[-1] == {"number": 2, "base": version, "served": version}
    w.schedule = None
    w.settle()
    assert w.round is not None, "the round goes on to its end"
    assert "schedule" not in w.status
    w.finish()
    w.settle()
    assert w.phase == "Succeeded"
    w.spec["data"] = {"train": {"uri": "s3://data/x"}, "maxExamples": 9}
    w.settle()
    assert w.orders[-1]["number"] == 3, "a log of scheduled rounds is never continued from a rejected one"


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


def test_an_ended_look_is_kept_for_its_log_until_the_next():
    w = ScheduleWorld(BY_DATA)
    w.settle()
    w.look()
    w.settle()
    first = list(w.jobs)
    assert len(first) == 1
    w.wait(300)
    assert list(w.jobs) != first
    assert len(w.jobs) == len(w.maps) == 1


def test_a_canary_holds_up_the_next_round():
    """Until it has reached all replicas, a version may be taken back, and is no base."""
    w = ScheduleWorld({**HOURLY, **BY_DATA}, records=900)
    w.spec["serving"] = {"selector": {"app": "vllm"}}
    w.settle()
    w.look()
    w.settle()
    w.finish()
    w.settle()
    w.status["serving"] |= {"stage": "Canary", "previous": {"version": 9, "sha256": sha(9)}, "canary": ["a"]}
    w.records = 900
    w.now = at(4)
    w.settle()
    if w.probe is not None:
        w.look()
        w.settle()
    assert w.round is None
    assert len(w.rounds) == 1
    w.status["serving"] |= {"stage": "All", "previous": None, "canary": []}
    w.settle()
    assert w.rounds[0]["number"] == 2


def test_what_is_told_has_one_name_however_often_it_is_planned():
    w = ScheduleWorld(HOURLY, records=5)
    w.settle()
    w.now = at(9, 30)
    first, second = w.plan(), w.plan()
    keys = [action.key for action in first.actions if isinstance(action, Emit)]
    assert keys
    assert keys == [action.key for action in second.actions if isinstance(action, Emit)]
    assert [action for action in first.actions if isinstance(action, Apply)]


def test_what_was_found_while_a_round_ran_decides_nothing_after_it():
    w = begun(ScheduleWorld({**BY_DATA, "concurrencyPolicy": "Replace"}, records=900))
    w.wait(300)
    w.look()
    w.settle()
    assert w.plans["fresh"]["records"] == 900
    w.finish()
    w.settle()
    assert w.round is None, "those 900 have been learned from"
    w.look()
    w.settle()
    assert w.round is None


def test_forbid_ends_a_look_that_replace_began():
    w = begun(ScheduleWorld({**BY_DATA, "concurrencyPolicy": "Replace"}, records=900))
    w.wait(300)
    assert w.probe is not None
    w.schedule["concurrencyPolicy"] = "Forbid"
    decided = w.settle()
    assert w.probe is None
    assert decided.again is None


def test_a_resource_made_anew_on_an_old_log_counts_on_and_continues_from_what_was_accepted():
    w = ScheduleWorld(BY_DATA, records=900)
    w.settle()
    w.look(round=7, accepted={"version": 12, "sha256": sha(12)})
    w.settle()
    served = {"version": 12, "sha256": sha(12)}
    assert w.orders == [{"number": 8, "base": served, "served": served}]
    w.versions = 12
    w.finish(REJECTED)
    w.records = 500
    w.settle()
    w.look(round=8, accepted={"version": 12, "sha256": sha(12)})
    w.settle()
    assert w.orders[-1] == {"number": 9, "base": served, "served": served}


def test_what_was_rolled_back_is_no_base_though_its_log_calls_it_accepted():
    w = begun(ScheduleWorld(BY_DATA, records=900))
    w.finish()
    w.settle()
    w.status["rounds"][0] |= {"outcome": "RolledBack", "reason": "CheckFailed"}
    w.records = 500
    w.look(round=1, accepted={"version": 1, "sha256": sha(1)})
    w.settle()
    assert w.orders[-1] == {"number": 2}


def test_the_log_may_have_had_its_last_round():
    w = ScheduleWorld({**BY_DATA, "maxRounds": 7}, records=900)
    w.settle()
    w.look(round=7)
    w.settle()
    assert w.phase == "Succeeded"
    assert w.round is None
    w.spec["storage"] = {"uri": "s3://logs/another"}
    w.settle()
    assert w.probe is not None
