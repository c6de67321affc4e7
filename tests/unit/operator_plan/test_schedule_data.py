"""Rounds that begin by themselves when there is enough fresh data, and what they continue from."""

from datetime import timedelta

import pytest

from fakes.schedule_world import ACCEPTED, BY_DATA, HOURLY, REJECTED, START, ScheduleWorld, at, begun, sha
from zo_runtime.rounds.contract import Fresh


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


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(days=400)])
def test_a_storage_whose_clock_is_ahead_delays_a_round_by_age_and_none_by_number(ahead):
    """Objects are dated by the storage's clock, ages are counted by the operator's; records are by no clock."""
    w = ScheduleWorld({"freshData": {"ageSeconds": 3600, "examples": 100, "probeSeconds": 300}}, records=99)
    w.oldest = START + ahead
    w.settle()
    w.look()
    decided = w.settle()
    assert w.round is None
    assert 0 < decided.again <= 3600 + ahead.total_seconds()
    w.records = 100
    w.wait(300)
    w.look()
    w.settle()
    assert w.rounds[0]["trigger"] == "FreshData"
    assert w.rounds[0]["dataRecords"] == 100


def test_a_storage_whose_clock_is_behind_begins_a_round_by_age_sooner_and_only_once():
    w = ScheduleWorld({"freshData": {"ageSeconds": 3600, "probeSeconds": 300}}, records=5)
    w.oldest = START - timedelta(days=400)
    w.settle()
    w.look()
    w.settle()
    assert w.rounds[0]["dataRecords"] == 5
    w.finish()
    w.settle()
    w.look()
    w.settle()
    assert len(w.rounds) == 1
    assert w.round is None


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
