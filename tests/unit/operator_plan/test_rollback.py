"""Approval, checks and rollbacks: what was not approved, failed or was taken back never reaches all replicas."""

import copy
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.rollout_cluster import BASE, Cluster, sha256
from zo_operator import names
from zo_operator.api.spec import parse_spec
from zo_operator.reconcile.observed import Apply, Emit, Refusal
from zo_operator.reconcile.replicas import Problem
from zo_runtime.errors import InvalidSpec
from zo_runtime.rounds.check_result import CheckResult

QUERY = {"url": "http://prom:9090", "query": 'e{pod=~"{pods}"}', "max": 0.1, "intervalSeconds": 10, "failureLimit": 2}
ERRORS = {"name": "errors", "prometheus": QUERY, "timeoutSeconds": 100}
ACCURACY = {"name": "accuracy", "heldOut": {"examples": 50, "maxAccuracyDrop": 0.03}, "timeoutSeconds": 100}
GOOD = CheckResult(ok=True, reason="Passed", message="accuracy 0.9, 0.9 in the log", passed=True)
BAD = CheckResult(ok=True, reason="AccuracyDropped", message="accuracy 0.5, 0.9 in the log", passed=False)
AWAY = CheckResult(ok=False, reason="EngineFailed", message="no connection", exit_code=10)
DOWN = Problem("Unreachable", "no connection")


def cluster_of(count=3, *, bake=0, **rollout):
    """A cluster that serves version 1 everywhere."""
    made = Cluster({"canaryReplicas": 1, "bakeSeconds": bake}, behaviours={f"web-{n}": "good" for n in range(count)})
    made.publish()
    made.settle()
    made.rollout |= rollout
    made.prometheus = (0.0,)
    return made


def trying(**rollout):
    """A cluster whose first replica serves version 2."""
    made = cluster_of(**rollout)
    made.publish()
    made.step()
    made.step()
    made.now += timedelta(seconds=2)
    made.step()
    assert made.served["web-0"].version == 2
    assert made.serving()["canaryReadyTime"]
    return made


def wait(cluster, seconds, step=1):
    for _ in range(0, seconds, step):
        cluster.now += timedelta(seconds=step)
        cluster.step()


def versions(cluster):
    return {name: target.version for name, target in cluster.served.items()}


def events(decided):
    return [(action.reason, action.message) for action in decided.actions if isinstance(action, Emit)]


def messages(cluster, kind="Served"):
    return next(c["message"] for c in cluster.status["conditions"] if c["type"] == kind)


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
    from fakes.rollout_cluster import DEFAULTS
    from zo_operator.reconcile.observed import Observed
    from zo_operator.reconcile.plan import plan

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


# -- whatever happens

checks_lists = st.sampled_from([[], [ERRORS], [ACCURACY], [ERRORS, ACCURACY]])
rollouts = st.builds(
    lambda canary, bake, approval, approved, checks, deadline: {
        "canaryReplicas": canary or 1 if checks else canary,
        "bakeSeconds": bake,
        "approval": approval,
        **({"approvedVersion": approved} if approved else {}),
        "checks": checks,
        "progressDeadlineSeconds": deadline,
    },
    canary=st.sampled_from([0, 1, 2, "50%"]),
    bake=st.sampled_from([0, 5, 60]),
    approval=st.sampled_from(["Automatic", "Manual"]),
    approved=st.sampled_from([None, 1, 2]),
    checks=checks_lists,
    deadline=st.sampled_from([30, 600]),
)
behaviours = st.sampled_from(["good", "good", "good", "dead", "failing"])
fleets = st.lists(behaviours, max_size=6).map(lambda found: {f"web-{n}": b for n, b in enumerate(found)})
replies = st.sampled_from([(0.0,), (1.0,), (), (float("nan"),), DOWN])
changes = st.one_of(
    st.just(("publish",)),
    st.just(("publish",)),
    st.tuples(st.just("behave"), st.integers(0, 7), behaviours),
    st.tuples(st.just("wait"), st.sampled_from([1, 10, 70, 700])),
    st.just(("crash",)),
    st.just(("restart",)),
    st.tuples(st.just("approve"), st.sampled_from(["1", "2", "3", "x"])),
    st.tuples(st.just("rollback"), st.sampled_from(["1", "2", "3", "x", ""])),
    st.tuples(st.just("measure"), replies),
    st.tuples(st.just("judge"), st.sampled_from([GOOD, BAD, AWAY, None])),
    st.tuples(st.just("rollout"), rollouts),
)


def change(cluster, what):
    match what:
        case ("publish",):
            cluster.publish()
        case ("behave", number, behaviour):
            cluster.behaviours[f"web-{number}"] = behaviour
        case ("wait", seconds):
            cluster.now += timedelta(seconds=seconds)
        case ("approve", value):
            cluster.annotations[names.ANNOTATION_APPROVE] = value
        case ("rollback", value):
            cluster.annotations[names.ANNOTATION_ROLLBACK] = value
        case ("measure", reply):
            cluster.prometheus = reply
        case ("judge", account) if cluster.jobs():
            cluster.finish(account)
        case ("rollout", rollout):
            cluster.rollout = rollout


def check_told(cluster, before):
    """Nothing that was taken back is told to anyone, and nothing unapproved is told to all."""
    withdrawn = {entry["sha256"] for entry in cluster.status.get("serving", {}).get("withdrawn", ())}
    spec = parse_spec(cluster.spec).serving.rollout
    approved = {cluster.annotations.get(names.ANNOTATION_APPROVE, ""), str(spec.approved_version)}
    asked = cluster.annotations.get(names.ANNOTATION_ROLLBACK, "")
    for desired in cluster.told[before:]:
        assert desired.target.sha256 not in withdrawn
        assert desired.canary is None or desired.canary.target.sha256 not in withdrawn
        number = str(desired.target.version)
        if spec.approval == "Manual" and number not in approved | {asked}:
            assert desired.target in [past.target for past in cluster.told[:before]]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rollouts, fleets, st.lists(changes, max_size=14))
def test_nothing_bad_reaches_all_whatever_happens(rollout, fleet, happenings):
    cluster = Cluster(rollout, behaviours=dict(fleet))
    cluster.step()
    for what in happenings:
        before = len(cluster.told)
        change(cluster, what)
        cluster.step(asked=what != ("restart",), record=what != ("crash",))
        if what != ("crash",):
            check_told(cluster, before)
        serving = cluster.status.get("serving") or {}
        assert not serving.get("awaitingApproval") or serving["stage"] == "Canary"
        outcomes = [entry.get("outcome") for entry in cluster.status.get("rounds", ())]
        assert outcomes.count("RolledBack") <= len(serving.get("withdrawn", ()))
    for _ in range(2):
        check_rest(cluster)


def check_rest(cluster):
    """It comes to rest, or waits for Prometheus, a Job or a person; and then it writes nothing but measurements."""
    for _ in range(30):
        before = copy.deepcopy((cluster.status, cluster.stored, cluster.objects))
        decided = cluster.step()
        if (cluster.status, cluster.stored, cluster.objects) == before:
            break
        cluster.now += timedelta(seconds=1)
    else:
        raise AssertionError(f"no rest: {cluster.status['serving']}")
    assert not [action for action in decided.actions if isinstance(action, Apply) and "serving" in str(action.body)]
    cluster.now += timedelta(seconds=1)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rollouts, fleets, st.lists(st.sampled_from(["wait", "crash"]), max_size=6), st.booleans())
def test_the_silent_hold_up_nobody_and_a_good_version_arrives(rollout, fleet, delays, approve):
    """With checks that pass and an approval, every replica that answers gets the version, however many are dead."""
    fleet = {name: "good" if behaviour == "failing" else behaviour for name, behaviour in fleet.items()}
    cluster = Cluster(rollout | {"approval": "Automatic"}, behaviours=fleet)
    cluster.prometheus = (0.0,)
    cluster.publish()
    cluster.settle()
    cluster.rollout = rollout
    cluster.annotations[names.ANNOTATION_APPROVE] = "2" if approve else "1"
    cluster.publish()
    for what in delays:
        cluster.step(record=what != "crash")
        cluster.now += timedelta(seconds=3)
    for _ in range(40):
        if cluster.jobs():
            cluster.finish(GOOD)
        decided = cluster.step()
        cluster.now += timedelta(seconds=max(1, decided.again or 0))
    alive = [name for name, behaviour in fleet.items() if behaviour == "good"]
    wanted = approve or rollout["approval"] == "Automatic" or rollout.get("approvedVersion") == 2
    if alive and wanted:
        assert {cluster.served[name].version for name in alive} == {2}
        assert cluster.outcomes() == {2: "Completed", 1: "Completed"}
    elif alive:
        assert cluster.said()[1] in ("AwaitingApproval", "CanaryMissing")
        assert cluster.desired().target.version == 1


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


def test_a_canary_that_falls_silent_is_not_waited_for():
    cluster = cluster_of(count=2, canaryReplicas=2, bakeSeconds=30, checks=[ERRORS])
    cluster.publish()
    cluster.step()
    cluster.step()
    cluster.behaviours["web-0"] = "dead"
    cluster.settle()
    assert cluster.desired().target.version == 2
    assert cluster.desired().canary is None
