"""What an answer of Prometheus says of a version, and what a check's answers add up to."""

import math
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_operator.api.checks import Check, PrometheusCheck
from zo_operator.api.serving_status import CheckStatus
from zo_operator.reconcile import checks
from zo_operator.reconcile.questions import Finding, assess, render
from zo_operator.reconcile.replicas import Problem

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
QUERY = {"url": "http://prometheus", "query": "up"}
ERRORS = Check.model_validate({"name": "e", "prometheus": QUERY | {"failureLimit": 3}, "timeoutSeconds": 120})


def judge(reply, **bounds):
    found = assess(PrometheusCheck.model_validate(QUERY | bounds), reply)
    return found.verdict


@pytest.mark.parametrize(
    ("reply", "bounds", "verdict"),
    [
        ((1.0,), {}, "Pass"), ((1.0, 2.0), {}, "Pass"), ((0.0,), {}, "Fail"), ((1.0, 0.0), {}, "Fail"),
        ((), {}, "Fail"), ((math.nan,), {}, "Unclear"), ((-1.0,), {}, "Pass"),
        ((0.1,), {"max": 0.1}, "Pass"), ((0.2,), {"max": 0.1}, "Fail"), ((0.0, 0.2), {"max": 0.1}, "Fail"),
        ((), {"max": 0.1}, "Unclear"), ((math.nan,), {"max": 0.1}, "Unclear"), ((math.inf,), {"max": 9}, "Fail"),
        ((5.0,), {"min": 5}, "Pass"), ((4.0,), {"min": 5}, "Fail"), ((5.5,), {"min": 5, "max": 6}, "Pass"),
        ((0.0,), {"max": 0}, "Pass"), ((-math.inf,), {"min": 0}, "Fail"),
        (Problem("Unreachable", "no connection"), {}, "Unclear"),
    ],
)  # fmt: skip
def test_what_passes(reply, bounds, verdict):
    assert judge(reply, **bounds) == verdict


def test_numbers_are_told():
    check = PrometheusCheck.model_validate(QUERY | {"min": 1, "max": 2})
    assert assess(check, (0.5, 1.5, 3.0)).message == "0.5, 3, not at least 1 and at most 2"
    assert assess(check, (1.25,)).message == "1.25, as demanded at least 1 and at most 2"
    assert assess(check, (9.0,) * 5).message == "9, 9, 9 and 2 more values, not at least 1 and at most 2"


names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?)?", fullmatch=True)


@given(st.lists(names, min_size=1, max_size=4), names)
def test_pods_become_an_expression_that_means_just_them(pods, other):
    query = render('x{pod=~"{pods}"}', pods=pods, namespace="ns", model="m", version=3)
    pattern = query.removeprefix('x{pod=~"').removesuffix('"}')
    assert "\\" not in pattern
    assert '"' not in pattern
    assert all(re.fullmatch(pattern, pod) for pod in pods)
    assert bool(re.fullmatch(pattern, other)) == (other in pods)


def test_placeholders():
    query = 'a{namespace="{namespace}",model_name="{model}"} - {version} + b{pod=~"{pods}"} + c{x="{unknown}"}'
    rendered = render(query, pods=["p"], namespace="ns", model="m", version=3)
    assert rendered == 'a{namespace="ns",model_name="m"} - 3 + b{pod=~"p"} + c{x="{unknown}"}'


verdicts = st.lists(st.tuples(st.sampled_from(["Pass", "Fail", "Unclear"]), st.integers(1, 200)), max_size=12)


@given(verdicts)
def test_a_check_fails_at_its_limit_and_after_its_time_and_not_before(answers):
    status, now, failures, unclear_since = checks.begin([ERRORS], [])[0], NOW, 0, None
    for verdict, seconds in answers:
        now += timedelta(seconds=seconds)
        status = checks.take(ERRORS, status, Finding(verdict, verdict), now)
        failures += verdict == "Fail"
        unclear_since = (unclear_since or now) if verdict == "Unclear" else None
        late = unclear_since is not None and now - unclear_since >= timedelta(seconds=120)
        failed = late or (failures >= 3 and verdict == "Fail")
        assert (status.state == "Failed") == failed
        assert (checks.fault([ERRORS], [status]) is not None) == failed
        assert status.failures == failures
        assert checks.satisfied(ERRORS, status, NOW) == (verdict == "Pass")
        if failed:
            return
        assert checks.due(ERRORS, status, NOW) == now + timedelta(seconds=60)


def test_measurements_count_only_of_replicas_that_serve_the_version():
    status = checks.take(ERRORS, checks.begin([ERRORS], [])[0], Finding("Pass", "ok"), NOW)
    later = NOW + timedelta(seconds=30)
    assert checks.satisfied(ERRORS, status, NOW)
    assert not checks.satisfied(ERRORS, status, later)
    assert checks.due(ERRORS, status, later) == later + timedelta(seconds=60)
    accuracy = Check.model_validate({"name": "a", "heldOut": {}})
    status = checks.take(accuracy, checks.begin([accuracy], [])[0], Finding("Pass", "ok"), NOW)
    assert checks.satisfied(accuracy, status, later), "the same adapter has the same accuracy"
    assert checks.due(accuracy, status, later) is None


def test_a_check_that_was_changed_begins_anew():
    known = CheckStatus(name="e", definition=checks.definition(ERRORS), failures=2)
    assert checks.begin([ERRORS], [known]) == [known]
    other = ERRORS.model_copy(update={"timeout_seconds": 5})
    assert checks.begin([other], [known])[0].failures == 0
