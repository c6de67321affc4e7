"""Checks of a canary, by Prometheus and by a Job: what they let through and what they take back."""

import copy
from datetime import timedelta

import pytest

from fakes.rollout_cluster import BASE, DEFAULTS, sha256
from fakes.rollout_story import (
    ACCURACY,
    AWAY,
    BAD,
    DOWN,
    ERRORS,
    GOOD,
    cluster_of,
    events,
    messages,
    trying,
    versions,
    wait,
)
from zo_operator.api.spec import parse_spec
from zo_operator.reconcile.observed import Observed, Refusal
from zo_operator.reconcile.plan import plan
from zo_runtime.errors import InvalidSpec

# -- Prometheus


def test_a_measurement_that_passes_lets_the_version_through():
    cluster = trying(checks=[ERRORS])
    assert cluster.said() == ("False", "Canary")
    assert "check errors is under way" in messages(cluster)
    wait(cluster, 7)
    assert versions(cluster)["web-1"] == 1
    assert cluster.asked == []
    wait(cluster, 1)
    (question,) = cluster.asked
    assert (question.query, question.namespace, question.number) == ('e{pod=~"web-0"}', "ns", 1)
    cluster.settle()
    assert set(versions(cluster).values()) == {2}
    assert cluster.serving()["checks"][0]["state"] == "Passed"
    assert cluster.serving()["checks"][0]["message"] == "0, as demanded at most 0.1"


def test_failures_up_to_the_limit_roll_back():
    cluster = trying(checks=[ERRORS])
    cluster.prometheus = (0.0, 0.25)
    wait(cluster, 12)
    assert cluster.said() == ("False", "CheckFailed")
    assert "check errors failed 1 of 1 times: 0.25, not at most 0.1" in messages(cluster)
    told = []
    for _ in range(12):
        cluster.now += timedelta(seconds=1)
        told += events(cluster.step())
    assert cluster.outcomes() == {2: "RolledBack", 1: "Completed"}
    entry = cluster.status["rounds"][0]
    assert entry["reason"] == "CheckFailed"
    assert entry["message"] == "check errors failed 2 of 2 times: 0.25, not at most 0.1"
    assert [reason for reason, _ in told if reason != "Served"][:2] == ["RolledBack", "RolloutStarted"]
    assert cluster.desired().canary is None
    cluster.settle()
    assert set(versions(cluster).values()) == {1}
    assert cluster.said() == ("True", "AllReplicas")
    assert cluster.serving()["version"] == 1
    assert cluster.serving()["withdrawn"][0]["sha256"] == sha256(2)
    assert (cluster.status["phase"], cluster.status["conditions"][2]["reason"]) == ("Failed", "CheckFailed")


def test_a_failure_that_passes_is_no_rollback():
    cluster = trying(checks=[ERRORS])
    cluster.prometheus = (0.25,)
    wait(cluster, 12)
    cluster.prometheus = (0.0,)
    cluster.settle()
    assert set(versions(cluster).values()) == {2}
    assert cluster.serving()["checks"][0]["failures"] == 1


def test_an_unreachable_prometheus_is_waited_for_and_then_counts():
    cluster = trying(checks=[ERRORS])
    cluster.prometheus = DOWN
    wait(cluster, 15)
    assert cluster.said() == ("False", "CheckInconclusive")
    assert "check errors has no clear answer: Unreachable: no connection" in messages(cluster)
    wait(cluster, 80)
    assert cluster.outcomes()[2] == "Completed"
    wait(cluster, 25)
    assert cluster.outcomes()[2] == "RolledBack"
    assert "has had no clear answer for 100 seconds: Unreachable" in cluster.status["rounds"][0]["message"]


def test_an_operator_that_was_away_condemns_nothing():
    cluster = trying(checks=[ERRORS])
    cluster.prometheus = DOWN
    wait(cluster, 15)
    cluster.now += timedelta(hours=5)
    cluster.prometheus = (0.0,)
    cluster.settle()
    assert set(versions(cluster).values()) == {2}


def test_a_check_goes_on_while_approval_is_waited_for():
    cluster = trying(approval="Manual", checks=[ERRORS])
    wait(cluster, 30)
    assert cluster.said() == ("False", "AwaitingApproval")
    cluster.prometheus = (1.0,)
    wait(cluster, 30)
    assert cluster.outcomes()[2] == "RolledBack"
    cluster.annotations["zofinetune.io/approve"] = "2"
    cluster.settle()
    assert set(versions(cluster).values()) == {1}


def test_another_question_begins_anew():
    cluster = trying(checks=[ERRORS])
    cluster.prometheus = (1.0,)
    wait(cluster, 12)
    assert cluster.serving()["checks"][0]["failures"] == 1
    other = copy.deepcopy(ERRORS)
    other["prometheus"]["max"] = 5
    cluster.rollout["checks"] = [other]
    cluster.settle()
    assert set(versions(cluster).values()) == {2}
    assert cluster.serving()["checks"][0].get("failures", 0) == 0


def test_no_replica_to_try_it_means_that_a_version_with_checks_waits():
    cluster = cluster_of(checks=[ERRORS])
    for name in list(cluster.behaviours):
        del cluster.behaviours[name], cluster.served[name], cluster.seen[name]
    cluster.publish()
    wait(cluster, 300, 60)
    assert cluster.desired().target.version == 1
    assert cluster.said() == ("False", "NoReplicas")
    cluster.behaviours |= {"web-8": "good", "web-9": "good"}
    wait(cluster, 5)
    assert versions(cluster) == {"web-8": 2, "web-9": 1}
    cluster.settle()
    assert set(versions(cluster).values()) == {2}


# -- held-out examples


def test_a_job_scores_the_canary():
    cluster = trying(checks=[ACCURACY])
    (job,) = cluster.jobs()
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == [
        "zo", "check", "/etc/zofinetune/zofinetune.yaml", "--replica=http://10.0.0.1:8000", "--model=r",
        "--version=2", f"--sha256={sha256(2)}", "--max-accuracy-drop=0.03", "--examples=50",
    ]  # fmt: skip
    assert "nvidia.com/gpu" not in str(job)
    assert ("ConfigMap", job["metadata"]["name"]) in cluster.objects
    wait(cluster, 60, 10)
    assert versions(cluster)["web-1"] == 1
    cluster.finish(GOOD)
    cluster.settle()
    assert set(versions(cluster).values()) == {2}
    assert cluster.objects == {}, "nothing is left of it"


def test_a_canary_that_is_worse_than_the_log_says_is_rolled_back():
    cluster = trying(checks=[ACCURACY])
    cluster.finish(BAD)
    cluster.settle()
    assert cluster.outcomes()[2] == "RolledBack"
    assert cluster.status["rounds"][0]["message"] == "check accuracy failed: accuracy 0.5, 0.9 in the log"
    assert set(versions(cluster).values()) == {1}
    assert cluster.objects == {}


@pytest.mark.parametrize("account", [AWAY, None], ids=["told", "silent"])
def test_a_job_that_cannot_judge_is_tried_again_until_time_is_up(account):
    cluster = trying(checks=[ACCURACY])
    cluster.finish(account)
    wait(cluster, 5)
    assert cluster.said() == ("False", "CheckInconclusive")
    assert cluster.jobs() == []
    wait(cluster, 60)
    (second,) = cluster.jobs()
    assert cluster.serving()["checks"][0]["asked"] == 1
    cluster.finish(account, second["metadata"]["name"])
    wait(cluster, 61)
    cluster.finish(account)
    cluster.settle()
    assert cluster.outcomes()[2] == "RolledBack"


def test_the_result_of_a_job_is_waited_for():
    """The watch of Jobs may be ahead of that of pods."""
    cluster = trying(checks=[ACCURACY])
    cluster.finish(GOOD)
    pods, cluster.pods = cluster.pods, []
    seen = Observed(jobs=cluster.of("Job"), config_maps=(cluster.stored, *cluster.of("ConfigMap")))
    assert plan(cluster.resource(), seen, cluster.now, DEFAULTS).refresh
    cluster.pods = pods
    cluster.settle()
    assert set(versions(cluster).values()) == {2}


def test_a_refused_job_is_no_matter_of_the_round():
    cluster = trying(checks=[ACCURACY])
    name = cluster.jobs()[0]["metadata"]["name"]
    cluster.objects.clear()
    follow = cluster.plan().follow
    refusal = Refusal(f"apply Job {name}", "Forbidden", "exceeded quota", False)
    decided = cluster.plan(cluster.survey(follow), refusal=refusal)
    said = {c.type: (c.status, c.reason) for c in decided.status.conditions}
    assert said["Served"] == ("False", "Forbidden")
    assert decided.status.phase == "RollingOut"


@pytest.mark.parametrize(
    ("rollout", "words"),
    [
        ({"canaryReplicas": 0, "checks": [ERRORS]}, "checks need replicas that go first"),
        ({"canaryReplicas": "0%", "checks": [ACCURACY]}, "checks need replicas that go first"),
        ({"checks": [{"name": "x"}]}, "give exactly one of `prometheus` and `heldOut`"),
        ({"checks": [ERRORS | {"heldOut": {}}]}, "give exactly one of `prometheus` and `heldOut`"),
        (
            {"checks": [{"name": "x", "prometheus": {"url": "http://p", "query": "q", "min": 2, "max": 1}}]},
            "above max",
        ),
        ({"checks": [{"name": "x", "prometheus": {"url": "ftp://p", "query": "q"}}]}, "url"),
        ({"checks": [{"name": "x", "prometheus": {"url": "http://me:pw@p", "query": "q"}}]}, "url"),
        ({"approval": "Later"}, "approval"),
    ],
)
def test_rollouts_that_make_no_sense(rollout, words):
    with pytest.raises(InvalidSpec, match=words):
        parse_spec({**BASE, "serving": {"selector": {"a": "b"}, "rollout": rollout}})
