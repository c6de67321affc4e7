"""From any observation, the plan leads to a state in which it has nothing left to do."""

import copy
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zo_operator import names
from zo_operator.api.spec import parse_spec
from zo_operator.reconcile.observed import (
    Apply,
    Defaults,
    Delete,
    Emit,
    Observed,
    Patch,
    Reading,
    Refusal,
    Resource,
)
from zo_operator.reconcile.plan import plan
from zo_operator.reconcile.rounds import round_hash, template_hash
from zo_runtime.progress import Progress, Result

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
LATER = datetime(2026, 5, 4, 4, 0, 0, tzinfo=UTC)
DEFAULTS = Defaults("zofinetune/runtime:test")
UID = "11111111-2222-3333-4444-555555555555"
BASE = {
    "model": {"name": "m"},
    "data": {"train": {"uri": "s3://data/x"}},
    "objective": {"classification": {"prompt": "{t}", "labels": {"0": " a", "1": " b"}}},
    "optimizer": {"steps": 100},
    "storage": {"uri": "s3://logs/x"},
}


def resource(spec, status=None, generation=3):
    meta = {"name": "r", "namespace": "ns", "uid": UID, "generation": generation, "resourceVersion": "7"}
    return Resource({"metadata": meta, "spec": spec} | ({"status": status} if status else {}))


specs = st.builds(
    lambda suspend, queue, steps, workers, policy, ttl, node: {
        **BASE,
        "optimizer": {"steps": steps},
        "suspend": suspend,
        "deletionPolicy": policy,
        "runtime": {"workers": workers, "nodeSelector": node},
        **({"queueName": queue} if queue else {}),
        **({"ttlSecondsAfterFinished": ttl} if ttl is not None else {}),
    },
    suspend=st.booleans(),
    queue=st.sampled_from([None, "team"]),
    steps=st.sampled_from([100, 200]),
    workers=st.sampled_from([1, 2]),
    policy=st.sampled_from(["Retain", "Delete"]),
    ttl=st.sampled_from([None, 0, 60]),
    node=st.sampled_from([{}, {"a": "b"}]),
)
RESULTS = (
    Result(ok=True, reason="Completed", steps=100, accuracy_after=0.7),
    Result(ok=False, reason="InvalidData", message="no rows", exit_code=3),
)


def child(kind, name, component=names.COMPONENT_RUNTIME, **fields):
    labels = names.uid_selector(UID) | {names.LABEL_COMPONENT: component}
    meta = {"name": name, "namespace": "ns", "uid": f"{kind}-{name}", "labels": labels}
    return {"kind": kind, "metadata": meta, **copy.deepcopy(fields)}


@st.composite
def jobs(draw, name):
    end = draw(st.sampled_from([None, None, "Complete", "Failed"]))
    conditions = (
        []
        if end is None
        else [{"type": end, "status": "True", "reason": "R", "lastTransitionTime": "2026-05-04T03:00:00Z"}]
    )
    status = {"conditions": conditions, "failed": draw(st.integers(0, 3)), "startTime": "2026-05-04T02:00:00Z"}
    made = child(
        "Job",
        name,
        spec={"suspend": draw(st.booleans()), "backoffLimit": draw(st.sampled_from([6, 2]))},
        status=status,
    )
    if draw(st.booleans()) and draw(st.booleans()):
        made["metadata"]["deletionTimestamp"] = "2026-05-04T03:00:00Z"
    return made


@st.composite
def pods(draw, job):
    phase = draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]))
    status = {"phase": phase, "podIP": "10.0.0.1"}
    if phase in ("Succeeded", "Failed"):
        message = draw(st.sampled_from(["", "not JSON", *(result.to_termination_message() for result in RESULTS)]))
        ended = {"exitCode": draw(st.sampled_from([0, 3, 5, 137])), "reason": "Error", "message": message}
        status["containerStatuses"] = [{"name": "runtime", "state": {"terminated": ended}}]
    elif phase == "Pending":
        waits = [{}, {"waiting": {"reason": "ImagePullBackOff", "message": "typo"}}]
        status["containerStatuses"] = [{"name": "runtime", "state": draw(st.sampled_from(waits))}]
    made = child("Pod", f"{job}-0-{draw(st.integers(0, 9))}", status=status)
    made["metadata"]["labels"] |= {names.LABEL_JOB: job, names.LABEL_INDEX: draw(st.sampled_from(["0", "1"]))}
    return made


@st.composite
def worlds(draw):
    """A resource with a status from some earlier spec, and children that fit it more or less."""
    spec, earlier = draw(specs), draw(specs)
    status = None
    if draw(st.booleans()):
        status = plan(resource(earlier, generation=1), Observed(), NOW, DEFAULTS).status.to_dict()
        head = status["rounds"][0]
        if (outcome := draw(st.sampled_from([None, None, "Completed", "Failed"]))) is not None:
            head |= {"outcome": outcome, "reason": "Because", "completionTime": "2026-05-04T03:00:00Z"}
    subject = resource(spec, status)
    wanted = plan(subject, Observed(), NOW, DEFAULTS).status.rounds[0].job
    stored = status["rounds"][0]["job"] if status else wanted
    found = {name: draw(jobs(name)) for name in draw(st.sets(st.sampled_from([wanted, stored, "zo-old"])))}
    living = [draw(pods(name)) for name in draw(st.lists(st.sampled_from([wanted, stored, "zo-old"]), max_size=4))]
    maps = [child("ConfigMap", name) for name in draw(st.sets(st.sampled_from([wanted, stored, "zo-old"])))]
    if draw(st.booleans()):
        maps.append(child("ConfigMap", names.cleanup("r"), names.COMPONENT_CLEANUP, data={}))
    unique = {pod["metadata"]["name"]: pod for pod in living}
    said = Progress(phase="Training", step=7, total_steps=100, loss=0.5, eta_seconds=9.0)
    speaker = draw(st.sampled_from([None, *(pod["metadata"]["uid"] for pod in unique.values())]))
    reading = Reading(speaker, said) if speaker else None
    return subject, Observed(tuple(found.values()), tuple(unique.values()), tuple(maps), (), reading)


def carry_out(observed, actions):
    """The cluster's answer: what was asked for, and what the controllers make of it; nothing else moves."""
    kept = {("Job", j["metadata"]["name"]): copy.deepcopy(j) for j in observed.jobs}
    kept |= {("ConfigMap", c["metadata"]["name"]): copy.deepcopy(c) for c in observed.config_maps}
    kept |= {("Service", s["metadata"]["name"]): copy.deepcopy(s) for s in observed.services}
    living = list(observed.pods)
    for action in actions:
        match action:
            case Apply(body):
                key = (body["kind"], body["metadata"]["name"])
                made = copy.deepcopy(body)
                made["metadata"]["uid"] = kept.get(key, {}).get("metadata", {}).get("uid", f"new-{key}")
                kept[key] = kept.get(key, {}) | made
            case Patch(kind, name, patch):
                for field, value in patch["spec"].items():
                    kept[kind, name]["spec"].pop(field, None)
                    if value is not None:
                        kept[kind, name]["spec"][field] = value
            case Delete(kind, name, _):
                kept[kind, name]["metadata"]["deletionTimestamp"] = "x"
    gone = [key for key, body in kept.items() if "deletionTimestamp" in body["metadata"]]
    for key in gone:
        del kept[key]
    jobs_left = {name: body for (kind, name), body in kept.items() if kind == "Job"}
    held = {name for name, body in jobs_left.items() if body["spec"].get("suspend")}
    living = [
        pod
        for pod in living
        if (job := pod["metadata"]["labels"][names.LABEL_JOB]) in jobs_left
        and not (job in held and pod["status"]["phase"] in ("Pending", "Running"))
    ]
    of = {kind: tuple(body for (k, _), body in kept.items() if k == kind) for kind in ("Job", "ConfigMap", "Service")}
    return replace(observed, jobs=of["Job"], config_maps=of["ConfigMap"], services=of["Service"], pods=tuple(living))


def step(subject, observed, now=NOW):
    decided = plan(subject, observed, now, DEFAULTS)
    if decided.refresh:
        decided = plan(subject, replace(observed, live=True), now, DEFAULTS)
    assert not decided.refresh
    return decided


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_it_converges_and_then_writes_nothing(world):
    subject, observed = world
    for _ in range(8):
        decided = step(subject, observed)
        status = decided.status.to_dict()
        settled = not decided.actions and status == subject.raw.get("status")
        subject, observed = resource(subject.spec, status), carry_out(observed, decided.actions)
        if settled:
            break
    else:
        raise AssertionError(f"no rest after 8 steps: {decided.actions}")
    again = step(subject, observed, LATER)
    assert again.actions == ()
    assert again.status.to_dict() == status, "time alone is no reason to write"


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_it_is_safe_at_every_step(world):
    subject, observed = world
    for _ in range(6):
        decided = step(subject, observed)
        check_one_writer(observed, decided.actions)
        check_conditions(decided.status.to_dict())
        check_queue(subject, decided.actions)
        subject = resource(subject.spec, decided.status.to_dict())
        observed = carry_out(observed, decided.actions)


def check_one_writer(observed, actions):
    """A Job starts or resumes only when nothing of another Job may still write."""
    starts = {a.body["metadata"]["name"] for a in actions if isinstance(a, Apply) and a.body["kind"] == "Job"}
    starts |= {a.name for a in actions if isinstance(a, Patch) and a.patch["spec"].get("suspend") is False}
    assert len(starts) <= 1
    for job in observed.jobs if starts else ():
        ended = (
            any(c["type"] in ("Complete", "Failed") for c in job["status"].get("conditions", ()))
            if "status" in job
            else False
        )
        assert job["metadata"]["name"] in starts or ended
    for pod in observed.pods if starts else ():
        ended = pod["status"]["phase"] in ("Succeeded", "Failed")
        assert pod["metadata"]["labels"][names.LABEL_JOB] in starts or ended


def check_conditions(status):
    found = {c["type"]: c for c in status["conditions"]}
    assert list(found) == ["Ready", "Reconciling", "Stalled", "Suspended", "Complete"]
    state = {kind: condition["status"] for kind, condition in found.items()}
    assert all(c["observedGeneration"] == status["observedGeneration"] == 3 for c in found.values())
    assert not (state["Reconciling"] == "True" and state["Stalled"] == "True")
    assert (state["Ready"] == "Unknown") == (state["Reconciling"] == "True")
    assert (state["Ready"] == "True") == (state["Complete"] == "True")
    assert state["Stalled"] != "True" or state["Ready"] == "False"
    assert all(condition["reason"] for condition in found.values())


def check_queue(subject, actions):
    if subject.spec.get("queueName"):
        assert not any("suspend" in a.patch["spec"] for a in actions if isinstance(a, Patch))


@given(worlds())
def test_it_is_a_function(world):
    subject, observed = world
    assert plan(subject, observed, NOW, DEFAULTS) == plan(
        copy.deepcopy(subject), copy.deepcopy(observed), NOW, DEFAULTS
    )


@given(worlds(), st.booleans())
def test_a_refusal_is_told_and_told_once(world, final):
    subject, observed = world
    refused = replace(
        observed, live=True, refusal=Refusal("apply Job x", "Refused", "spec.foo: Invalid value", final)
    )
    first = plan(subject, refused, NOW, DEFAULTS)
    ready = first.status.conditions[0]
    assert "spec.foo: Invalid value" in ready.message
    assert (first.status.conditions[2].status == "True") == final
    assert any(isinstance(action, Emit) and "spec.foo" in action.message for action in first.actions)
    second = plan(resource(subject.spec, first.status.to_dict()), refused, LATER, DEFAULTS)
    assert second.status.to_dict() == first.status.to_dict()
    assert not any(isinstance(action, Emit) and "spec.foo" in action.message for action in second.actions)


@given(specs, specs)
def test_hashes_tell_what_is_learned_from_how(one, other):
    first, second = parse_spec(one), parse_spec(other)
    assert (round_hash(first, "") == round_hash(second, "")) == (one["optimizer"] == other["optimizer"])
    same_pods = one["runtime"] == other["runtime"] and one.get("queueName") == other.get("queueName")
    assert (template_hash(first) == template_hash(second)) == same_pods
    assert round_hash(first, "") != round_hash(first, "again")


def test_hashes_are_the_same_in_the_next_release():
    """A running round is recognized by its hashes: if these change, an upgrade restarts every run."""
    spec = parse_spec(BASE)
    assert round_hash(spec, "") == "6765caed46767353"
    assert template_hash(spec) == "4eb8abf8a9bf2932"


def test_another_gate_gives_a_round_other_pods_and_begins_none():
    without, gated = parse_spec(BASE), parse_spec({**BASE, "gate": {"minGain": 0.1}})
    assert round_hash(without, "") == round_hash(gated, "")
    assert template_hash(without) != template_hash(gated)


def test_defaults_written_out_change_no_hash():
    spec, written = parse_spec(BASE), parse_spec({**BASE, "optimizer": {"steps": 100, "rank": 2, "batchSize": 16}})
    assert round_hash(spec, "") == round_hash(written, "")


def test_a_resource_that_is_being_deleted_is_left_to_the_garbage_collector():
    subject = resource(BASE)
    subject.raw["metadata"]["deletionTimestamp"] = "2026-05-04T03:00:00Z"
    decided = plan(subject, Observed(), NOW, DEFAULTS)
    assert decided.actions == ()
    assert decided.status is None


@pytest.mark.parametrize("broken", [None, "text", {}, {**BASE, "optimizer": {"steps": -1}}])
def test_an_invalid_spec_touches_nothing(broken):
    subject = resource(broken)
    decided = plan(subject, Observed(jobs=(child("Job", "zo-old", spec={}, status={}),)), NOW, DEFAULTS)
    assert all(isinstance(action, Emit) for action in decided.actions)
    assert decided.status.conditions[2].status == "True"
    assert "spec" in decided.status.conditions[2].message


def test_the_history_is_bounded():
    status = None
    for number in range(1, 15):
        spec = {**BASE, "optimizer": {"steps": number}}
        status = plan(resource(spec, status), Observed(), NOW, DEFAULTS).status.to_dict()
        assert status["rounds"][0]["number"] == number
    assert len(status["rounds"]) == 10
