"""Rounds and looks at the data that fail: told, and tried again after pauses that grow."""

from fakes.schedule_world import BY_DATA, HOURLY, ScheduleWorld, at, begun


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
