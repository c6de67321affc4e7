"""Rollouts: whatever replicas do, canaries go first, the others later, and a silent one holds up nobody."""

import copy
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.rollout_cluster import BASE, DEFAULTS, SILENT, START, Cluster, sha256
from zo_operator import names
from zo_operator.api.serving import Rollout
from zo_operator.api.spec import parse_spec
from zo_operator.api.status import Round
from zo_operator.reconcile.goal import History, choose
from zo_operator.reconcile.observed import Apply, Emit, Observed
from zo_operator.reconcile.plan import plan
from zo_operator.reconcile.replicas import Aim, Problem, Replica, Served, Survey, relevant, stand
from zo_operator.reconcile.rollout import choose_members, wanted
from zo_runtime.errors import InvalidSpec
from zo_runtime.serving.contract import ServedAdapter, ServedAdapters, Target

rollouts = st.fixed_dictionaries(
    {"canaryReplicas": st.sampled_from([0, 1, 2, "25%", "100%"]), "bakeSeconds": st.sampled_from([0, 5, 60])}
)
behaviours = st.sampled_from(["good", "good", "good", "dead", "failing"])
fleets = st.lists(behaviours, max_size=8).map(lambda found: {f"web-{n}": b for n, b in enumerate(found)})
changes = st.one_of(
    st.just(("publish",)),
    st.tuples(st.just("behave"), st.integers(0, 9), behaviours),
    st.tuples(st.just("remove"), st.integers(0, 9)),
    st.tuples(st.just("wait"), st.integers(1, 400)),
    st.just(("restart",)),
    st.tuples(st.just("pin"), st.integers(1, 3)),
    st.just(("unpin",)),
)


def change(cluster, what):
    match what:
        case ("publish",):
            cluster.publish()
        case ("behave", number, behaviour):
            cluster.behaviours[f"web-{number}"] = behaviour
        case ("remove", number):
            for holder in (cluster.behaviours, cluster.served, cluster.seen):
                holder.pop(f"web-{number}", None)
        case ("wait", seconds):
            cluster.now += timedelta(seconds=seconds)
        case ("pin", version):
            cluster.target = {"version": version, "sha256": sha256(version)}
        case ("unpin",):
            cluster.target = None


def canaries_of(rollout, replicas):
    return wanted(Rollout.model_validate(rollout), replicas)


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rollouts, fleets, st.lists(changes, max_size=12))
def test_whatever_happens_few_try_a_version_before_the_others(rollout, fleet, happenings):
    cluster = Cluster(rollout, behaviours=dict(fleet))
    cluster.step()
    for what in happenings:
        before = copy.deepcopy(cluster.told)
        change(cluster, what)
        cluster.step(asked=what != ("restart",))
        check_status(cluster)
        for desired in cluster.told[len(before) :]:
            if desired.canary is not None:
                # A failed canary may be replaced once, so twice the number that is asked for is the most.
                assert len(desired.canary.members) <= max(2 * canaries_of(rollout, 10), 2)
                assert desired.canary.target != desired.target


def check_status(cluster):
    serving = cluster.status.get("serving")
    if serving is None:
        return
    state = {c["type"]: c for c in cluster.status["conditions"]}
    assert not (state["Reconciling"]["status"] == "True" and state["Stalled"]["status"] == "True")
    assert (state["Ready"]["status"] == "Unknown") == (state["Reconciling"]["status"] == "True")
    assert len(serving.get("failed", ())) <= serving.get("failedReplicas", 0)
    assert serving.get("updated", 0) + serving.get("failedReplicas", 0) <= serving.get("replicas", 0)
    if serving.get("stage") == "Canary":
        assert serving["previous"]["version"] != serving["version"]
        assert "completionTime" not in serving
    if state["Served"]["status"] == "True":
        assert serving["updated"] >= 1


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rollouts, fleets)
def test_the_dead_hold_up_nobody_and_at_rest_nothing_is_written(rollout, fleet):
    cluster = Cluster(rollout, behaviours={n: "good" if b == "failing" else b for n, b in fleet.items()})
    cluster.publish()
    cluster.settle()
    cluster.publish()
    cluster.settle()
    alive = [name for name, behaviour in cluster.behaviours.items() if behaviour == "good"]
    blocked = rollout["canaryReplicas"] not in (0, "0%") and not alive and cluster.behaviours
    assert cluster.desired().target.version == (1 if blocked else 2)
    assert {cluster.served[name].version for name in alive} <= {2}
    serving = cluster.status["serving"]
    assert (serving["replicas"], serving["updated"]) == (len(fleet), len(alive))
    assert {item["pod"] for item in serving.get("failed", ())} == set(fleet) - set(alive)
    cluster.now += timedelta(hours=1)
    status, decided = copy.deepcopy(cluster.status), cluster.step()
    assert not [action for action in decided.actions if not told_of_the_round(action)]
    assert cluster.status == status


def told_of_the_round(action):
    """These resources have a completed round without its children; the plan of those is tested elsewhere."""
    return isinstance(action, Emit | Apply) and "serving" not in str(getattr(action, "body", ""))


def test_a_failing_canary_holds_the_version_back_until_it_is_mended():
    cluster = Cluster({"canaryReplicas": 1, "bakeSeconds": 60}, behaviours=dict.fromkeys(("a", "b", "c"), "good"))
    cluster.publish()
    cluster.settle()
    assert cluster.said() == ("True", "AllReplicas")
    cluster.behaviours["a"] = "failing"
    cluster.publish()
    cluster.step()
    cluster.step()
    for _ in range(5):
        cluster.now += timedelta(minutes=1)
        cluster.step()
    assert cluster.said() == ("False", "CanaryFailed")
    assert {name: target.version for name, target in cluster.served.items()} == {"a": 1, "b": 1, "c": 1}
    assert cluster.status["serving"]["failed"] == [{"pod": "a", "reason": "LogCorrupt", "message": "damaged"}]
    cluster.behaviours["a"] = "good"
    cluster.settle()
    assert {target.version for target in cluster.served.values()} == {2}


def test_the_bake_is_waited_for():
    cluster = Cluster({"canaryReplicas": 1, "bakeSeconds": 60}, behaviours=dict.fromkeys(("a", "b"), "good"))
    cluster.publish()
    cluster.settle()
    cluster.publish()
    cluster.step()
    cluster.step()
    decided = cluster.step()
    assert decided.again == 60
    assert cluster.status["serving"]["canaryReadyTime"]
    cluster.now += timedelta(seconds=59)
    assert cluster.step().again == 1
    assert cluster.desired().target.version == 1
    cluster.now += timedelta(seconds=1)
    cluster.step()
    assert cluster.desired().target.version == 2
    assert cluster.desired().canary is None


def test_another_log_has_nothing_to_be_compared_with():
    cluster = Cluster({"canaryReplicas": 1, "bakeSeconds": 60}, behaviours={"a": "good"})
    cluster.publish()
    cluster.settle()
    cluster.publish("s3://logs/other")
    cluster.step()
    assert cluster.desired().uri == "s3://logs/other"
    assert cluster.desired().canary is None


def test_a_log_that_was_left_is_served_with_its_own_settings_until_the_next_has_a_version():
    cluster = Cluster({"canaryReplicas": 0, "bakeSeconds": 0}, behaviours={"a": "good"})
    cluster.publish()
    cluster.settle()
    before = cluster.desired()
    assert before.s3.model_dump(exclude_none=True) == {
        "endpoint": "https://s3", "path_style": False, "ca_file": "/etc/zofinetune-ca/ca.crt"
    }  # fmt: skip
    cluster.uri = "/elsewhere"
    cluster.step()
    assert cluster.desired() == before
    assert len(cluster.told) == 1


def test_a_version_outlives_the_history_that_names_it():
    cluster = Cluster({"canaryReplicas": 1, "bakeSeconds": 0}, behaviours={"a": "good"})
    cluster.publish()
    cluster.settle()
    for entry in cluster.status["rounds"]:
        entry |= {"outcome": "Failed"}
    before = cluster.desired()
    cluster.step()
    assert cluster.desired() == before
    assert cluster.said() == ("True", "AllReplicas")


def test_a_replica_that_never_hears_of_it_is_told_how_to_listen():
    cluster = Cluster({"canaryReplicas": 0, "bakeSeconds": 0}, behaviours={"a": "good", "b": "good"})
    cluster.publish()
    cluster.settle()
    follow = cluster.plan().follow
    old = (1, sha256(1), None)
    deaf = Survey(follow, (Replica("a"), Replica("b", Served("Serving", 1, target=old))))
    cluster.publish()
    first = cluster.plan(deaf).status
    assert first.serving.failed == []
    cluster.status = first.to_dict()
    cluster.now += timedelta(seconds=302)
    found = {item.pod: item for item in cluster.plan(deaf).status.serving.failed}
    assert found["a"].reason == "NotConfigured"
    assert "ZO_DESIRED_STATE" in found["a"].message
    assert found["b"].reason == "StaleDesiredState"
    assert "subPath" in found["b"].message


def test_names_that_do_not_fit_are_told():
    cluster = Cluster({"canaryReplicas": 0, "bakeSeconds": 0})
    cluster.publish()
    subject = cluster.resource()
    subject.raw["metadata"]["name"] = "n" * 220
    decided = plan(subject, Observed(), START, DEFAULTS)
    served = next(c for c in decided.status.conditions if c.type == "Served")
    assert (served.status, served.reason) == ("False", "InvalidSpec")
    assert "spec.serving.modelName" in served.message


def test_an_operator_that_has_just_started_keeps_what_was_known():
    cluster = Cluster({"canaryReplicas": 1, "bakeSeconds": 60}, behaviours={"a": "good", "b": "dead"})
    cluster.publish()
    cluster.settle()
    status = copy.deepcopy(cluster.status)
    cluster.step(asked=False)
    assert cluster.status == status


def test_trouble_with_all_of_them_keeps_the_numbers():
    cluster = Cluster({"canaryReplicas": 1, "bakeSeconds": 60}, behaviours={"a": "good"})
    cluster.publish()
    cluster.settle()
    trouble = Survey(cluster.plan().follow, problem=Problem("SecretForbidden", "the operator may not read it"))
    decided = cluster.plan(trouble)
    served = next(c for c in decided.status.conditions if c.type == "Served")
    assert (served.status, served.reason) == ("Unknown", "SecretForbidden")
    assert decided.status.serving.updated == 1


# -- the small parts

AIM = Aim(Target(version=3, sha256=sha256(3)), "d" * 64)
SEEN = (3, sha256(3), None)


@pytest.mark.parametrize(
    ("served", "late", "kind", "reason"),
    [
        (None, False, "Coming", None),
        (None, True, "Failed", "NotConfigured"),
        (Served("Pending", target=SEEN), True, "Coming", None),
        (Served("Preparing", 2, target=SEEN), True, "Coming", None),
        (Served("Serving", 3, digest="d" * 64, target=SEEN), False, "Updated", None),
        (Served("Serving", 3, digest="e" * 64, target=SEEN), False, "Failed", "DigestMismatch"),
        (Served("Serving", 2, target=(2, sha256(2), None)), False, "Coming", None),
        (Served("Serving", 2, target=(2, sha256(2), None)), True, "Failed", "StaleDesiredState"),
        (Served("Serving", 3, digest="d" * 64, target=(3, sha256(4), None)), False, "Coming", None),
        (Served("Failed", 2, target=SEEN, error=Problem("WrongBaseModel", "x")), False, "Failed", "WrongBaseModel"),
        (Served("Failed", error=Problem("InvalidSpec", "x")), False, "Failed", "InvalidSpec"),
        (Served("Failed", 2, target=(2, sha256(2), None)), False, "Coming", None),
        (
            Served("Failed", 2, target=(2, sha256(2), None), error=Problem("InvalidSpec", "x")),
            True,
            "Failed",
            "InvalidSpec",
        ),
        (Served("Orphaned", 2), True, "Failed", "NotConfigured"),
    ],
)
def test_how_a_replica_stands(served, late, kind, reason):
    found = stand(Replica("a", served), AIM, "m", late=late)
    assert (found.kind, found.problem and found.problem.reason) == (kind, reason)


def test_a_silent_replica_is_missing():
    assert stand(Replica("a", problem=SILENT), AIM, "m", late=True).kind == "Missing"


def test_times_are_no_part_of_what_is_compared():
    def at(moment):
        adapter = ServedAdapter(name="m", state="Serving", version=1, since=moment)
        return relevant(ServedAdapters(pod="a", adapters=(adapter,)), "m")

    assert at(START) == at(START + timedelta(hours=1))
    assert relevant(ServedAdapters(pod="a", adapters=()), "m") is None


@given(st.lists(st.booleans(), max_size=12), st.sets(st.integers(0, 14)), st.integers(1, 5))
def test_members_stay_and_are_replaced_within_bounds(alive, kept, count):
    replicas = tuple(Replica(f"p{n:02d}", problem=None if up else SILENT) for n, up in enumerate(alive))
    there = {replica.pod: replica for replica in replicas}
    before = sorted(f"p{n:02d}" for n in kept)[: 2 * count]
    members = choose_members(before, replicas, count)
    assert set(members) <= set(there)
    assert set(members) >= set(before) & set(there)
    assert len(members) <= 2 * count
    answering = sum(there[pod].answers for pod in members)
    possible = sum(alive)
    room = 2 * count - len(set(before) & set(there)) + sum(there[p].answers for p in before if p in there)
    assert answering >= min(count, possible, room)
    assert choose_members(members, replicas, count) == members


@pytest.mark.parametrize(
    ("count", "replicas", "expected"),
    [(0, 9, 0), (1, 9, 1), (5, 3, 3), ("10%", 10, 1), ("10%", 11, 2), ("0%", 5, 0), ("100%", 7, 7), ("1%", 1, 1)],
)
def test_how_many_go_first(count, replicas, expected):
    assert wanted(Rollout(canary_replicas=count), replicas) == expected


@pytest.mark.parametrize("count", [-1, "-1%", "101%", "05%", "", 1.5])
def test_counts_that_make_no_sense(count):
    spec = {**BASE, "serving": {"selector": {"a": "b"}, "rollout": {"canaryReplicas": count}}}
    with pytest.raises(InvalidSpec, match=r"spec\.serving\.rollout\.canaryReplicas"):
        parse_spec(spec)


def entry(number, **fields):
    return Round(number=number, hash="h", template_hash="t", job="j", **fields)


def test_the_newest_completed_round_with_a_pinned_version_is_chosen():
    spec = parse_spec({**BASE, "serving": {"selector": {"a": "b"}}})
    done = {"outcome": "Completed", "log_uri": "s3://logs/x"}
    rounds = [
        entry(6),
        entry(5, outcome="Failed", version=5, version_sha256=sha256(5)),
        entry(4, **done, version=4),
        entry(3, **done, version=3, version_sha256="not a hash"),
        entry(2, **done, version=2, version_sha256=sha256(2), digest="d" * 64),
        entry(1, **done, version=1, version_sha256=sha256(1)),
    ]
    goal = choose(spec, History(tuple(rounds)))
    assert (goal.target.version, goal.digest, goal.pinned) == (2, "d" * 64, False)
    assert choose(spec, History(tuple(rounds[:4]))) is None


@given(st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", fullmatch=True))
def test_the_config_maps_name_is_the_resources_as_long_as_it_fits(name):
    made = names.serving(name)
    assert made.endswith("-serving")
    assert len(made) <= 253
    assert (made == f"{name}-serving") == (len(name) <= 245)


def test_long_names_stay_apart():
    assert names.serving("n" * 250 + "a") != names.serving("n" * 250 + "b")
