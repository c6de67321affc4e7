"""Rollbacks by hand and of replicas that do not make it, and approval: nothing reaches all before its time."""

from datetime import timedelta

import pytest

from fakes.rollout_cluster import Cluster, sha256
from fakes.rollout_story import ERRORS, cluster_of, events, messages, trying, versions, wait
from zo_operator.reconcile.replicas import Problem

# -- approval


def test_a_version_waits_at_the_canary_until_it_is_approved():
    cluster = trying(approval="Manual")
    wait(cluster, 600, 60)
    assert versions(cluster) == {"web-0": 2, "web-1": 1, "web-2": 1}
    assert cluster.said() == ("False", "AwaitingApproval")
    assert cluster.serving()["awaitingApproval"] is True
    assert "zofinetune.io/approve to 2" in messages(cluster)
    assert cluster.status["phase"] == "RollingOut"
    cluster.annotations["zofinetune.io/approve"] = "1"
    wait(cluster, 60, 60)
    assert cluster.said() == ("False", "AwaitingApproval")
    cluster.annotations["zofinetune.io/approve"] = "2"
    cluster.settle()
    assert set(versions(cluster).values()) == {2}
    assert "awaitingApproval" not in cluster.serving()


def test_the_spec_approves_too_and_too_early_is_in_time():
    cluster = cluster_of(approval="Manual", approvedVersion=2)
    cluster.publish()
    cluster.settle()
    assert set(versions(cluster).values()) == {2}
    cluster.publish()
    wait(cluster, 300, 60)
    assert cluster.said() == ("False", "AwaitingApproval")
    cluster.rollout["approval"] = "Automatic"
    cluster.settle()
    assert set(versions(cluster).values()) == {3}


def test_the_first_version_waits_with_nothing_told():
    cluster = Cluster({"approval": "Manual"}, behaviours={"web-0": "good"})
    cluster.publish()
    wait(cluster, 600, 60)
    assert cluster.stored is None
    assert cluster.said() == ("False", "AwaitingApproval")
    assert cluster.serving()["stage"] == "Canary"
    assert "failed" not in cluster.serving() or cluster.serving()["failed"] == []
    cluster.annotations["zofinetune.io/approve"] = "1"
    cluster.settle()
    assert versions(cluster) == {"web-0": 1}


def test_a_version_of_another_log_waits_while_the_old_log_is_served():
    cluster = cluster_of(approval="Manual")
    before = cluster.desired()
    cluster.publish("s3://logs/other")
    wait(cluster, 600, 60)
    assert cluster.desired() == before
    assert "of s3://logs/x" in messages(cluster)
    assert cluster.serving()["previous"]["logURI"] == "s3://logs/x"
    cluster.annotations["zofinetune.io/approve"] = "2"
    cluster.settle()
    assert cluster.desired().uri == "s3://logs/other"


def test_without_a_canary_a_version_still_waits_for_approval():
    cluster = cluster_of(approval="Manual", canaryReplicas=0)
    cluster.publish()
    wait(cluster, 300, 60)
    assert set(versions(cluster).values()) == {1}
    cluster.annotations["zofinetune.io/approve"] = "2"
    cluster.settle()
    assert set(versions(cluster).values()) == {2}


def test_what_is_served_already_needs_no_approval():
    """Manual approval is turned on for a resource whose version is everywhere, and its status is lost."""
    cluster = cluster_of(approval="Manual")
    del cluster.status["serving"]
    cluster.settle()
    assert cluster.said() == ("True", "AllReplicas")
    cluster.status["serving"]["modelName"] = "former"
    cluster.settle()
    assert cluster.said() == ("True", "AllReplicas")


def test_an_approved_version_is_told_before_it_has_replicas():
    cluster = cluster_of(count=0, approval="Manual")
    cluster.publish()
    cluster.settle()
    assert cluster.desired().target.version == 1
    assert cluster.said() == ("False", "AwaitingApproval")
    cluster.annotations["zofinetune.io/approve"] = "2"
    cluster.settle()
    assert cluster.desired().target.version == 2


# -- replicas that do not make it


def test_a_canary_that_cannot_load_the_version_is_rolled_back_after_the_deadline():
    cluster = cluster_of(progressDeadlineSeconds=300)
    cluster.behaviours["web-0"] = "failing"
    cluster.publish()
    wait(cluster, 295, 5)
    assert cluster.said() == ("False", "CanaryFailed")
    assert cluster.outcomes()[2] == "Completed"
    wait(cluster, 20, 5)
    assert cluster.outcomes()[2] == "RolledBack"
    entry = cluster.status["rounds"][0]
    assert (entry["reason"], entry["message"]) == ("CanaryFailed", "web-0 cannot serve it: LogCorrupt: damaged")
    cluster.behaviours["web-0"] = "good"
    cluster.settle()
    assert set(versions(cluster).values()) == {1}


def test_replicas_that_die_of_a_version_get_the_one_before():
    cluster = cluster_of(count=4, progressDeadlineSeconds=60)
    cluster.publish()
    cluster.step()
    for _ in range(40):
        for name in cluster.desired().canary.members if cluster.desired().canary else ():
            cluster.behaviours[name] = "dead"
        cluster.now += timedelta(seconds=5)
        cluster.step()
    assert sum(behaviour == "dead" for behaviour in cluster.behaviours.values()) == 2
    assert cluster.outcomes()[2] == "RolledBack"
    assert cluster.status["rounds"][0]["message"] == "web-0, web-1 no longer answer, and other replicas do"


@pytest.mark.parametrize("reason", ["StorageUnavailable", "StorageDenied"])
def test_an_outage_of_storage_says_nothing_of_the_version(reason):
    cluster = cluster_of(progressDeadlineSeconds=60)
    cluster.behaviours["web-0"] = "failing"
    cluster.trouble = Problem(reason, "no answer")
    cluster.publish()
    wait(cluster, 3600, 60)
    assert cluster.said() == ("False", "CanaryFailed")
    assert cluster.outcomes()[2] == "Completed"
    cluster.behaviours["web-0"] = "good"
    cluster.settle()
    assert set(versions(cluster).values()) == {2}


def test_a_canary_that_falls_silent_is_not_waited_for():
    cluster = cluster_of(count=2, canaryReplicas=2, bakeSeconds=30, checks=[ERRORS])
    cluster.publish()
    cluster.step()
    cluster.step()
    cluster.behaviours["web-0"] = "dead"
    cluster.settle()
    assert cluster.desired().target.version == 2
    assert cluster.desired().canary is None


# -- by hand


def three_versions():
    cluster = cluster_of()
    for _ in range(2):
        cluster.publish()
        cluster.settle()
    assert set(versions(cluster).values()) == {3}
    return cluster


def test_the_annotation_goes_back_at_once_and_once():
    cluster = three_versions()
    cluster.annotations["zofinetune.io/rollback-to"] = "1"
    decided = cluster.step()
    assert ("RollbackRequested", "back to version 1; versions 2, 3 are taken back") in events(decided)
    assert cluster.desired().target.version == 1
    assert cluster.desired().canary is None
    cluster.settle()
    assert cluster.outcomes() == {3: "RolledBack", 2: "RolledBack", 1: "Completed"}
    assert cluster.status["phase"] == "Succeeded"
    assert cluster.serving()["rollback"] == {
        "value": "1", "accepted": True, "message": "back to version 1; versions 2, 3 are taken back"
    }  # fmt: skip
    cluster.publish()
    cluster.settle()
    assert set(versions(cluster).values()) == {4}, "the same value does nothing again"
    del cluster.annotations["zofinetune.io/rollback-to"]
    cluster.settle()
    assert "rollback" not in cluster.serving()
    cluster.annotations["zofinetune.io/rollback-to"] = "1"
    cluster.settle()
    assert set(versions(cluster).values()) == {1}


def test_a_rollback_ends_a_canary():
    cluster = trying(bake=600)
    cluster.annotations["zofinetune.io/rollback-to"] = "1"
    cluster.settle()
    assert set(versions(cluster).values()) == {1}
    assert cluster.outcomes() == {2: "RolledBack", 1: "Completed"}


def test_a_rollback_ends_a_rollout_to_all():
    cluster = cluster_of(count=4)
    cluster.behaviours["web-3"] = "failing"
    cluster.publish()
    cluster.settle()
    assert cluster.said() == ("False", "ReplicasFailed")
    cluster.annotations["zofinetune.io/rollback-to"] = "1"
    cluster.behaviours["web-3"] = "good"
    cluster.settle()
    assert set(versions(cluster).values()) == {1}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("7", "status.rounds knows no version 7 that may be served"), ("nonsense", "'nonsense' is no number"),
        ("0", "is no number of a version"), ("9" * 5000, "is no number of a version"), ("²", "is no number"),
        ("2", "version 2 was itself rolled back (RollbackRequested)"),
    ],
)  # fmt: skip
def test_a_rollback_to_nowhere_is_refused_and_told_once(value, words):
    cluster = three_versions()
    cluster.annotations["zofinetune.io/rollback-to"] = "1"
    cluster.settle()
    cluster.publish()
    cluster.settle()
    cluster.annotations["zofinetune.io/rollback-to"] = value
    ((reason, message),) = [event for event in events(cluster.step()) if event[0].startswith("Rollback")]
    assert reason == "RollbackRefused"
    assert words in message
    assert len(str(cluster.serving()["rollback"])) < 400
    assert not [event for event in events(cluster.step()) if event[0].startswith("Rollback")]
    assert set(versions(cluster).values()) == {4}


def test_what_was_taken_back_stays_away_even_if_another_round_publishes_it():
    cluster = three_versions()
    cluster.annotations["zofinetune.io/rollback-to"] = "1"
    cluster.settle()
    again = cluster.status["rounds"][0] | {"number": 4, "outcome": "Completed"}
    cluster.status["rounds"] = [again]
    cluster.settle()
    assert set(versions(cluster).values()) == {1}
    cluster.target = {"version": 3, "sha256": sha256(3)}
    cluster.settle()
    assert set(versions(cluster).values()) == {3}, "the spec's word is the last"


def test_a_rolled_back_version_is_followed_by_the_newest_that_is_left():
    cluster = cluster_of(checks=[ERRORS])
    cluster.publish()
    wait(cluster, 4)
    cluster.publish()
    cluster.prometheus = (1.0,)
    wait(cluster, 60)
    assert cluster.outcomes() == {3: "RolledBack", 2: "RolledBack", 1: "Completed"}
    cluster.settle()
    assert set(versions(cluster).values()) == {1}
