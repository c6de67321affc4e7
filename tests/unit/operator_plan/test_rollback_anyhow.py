"""Whatever happens: what was not approved, failed or was taken back never reaches all; the silent hold up nobody."""

import copy
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.rollout_cluster import Cluster
from fakes.rollout_story import (
    ACCURACY,
    AWAY,
    BAD,
    DOWN,
    ERRORS,
    GOOD,
)
from zo_operator import names
from zo_operator.api.spec import parse_spec
from zo_operator.reconcile.observed import Apply

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
