"""A round begins with no fewer records than it can be judged with."""

import copy
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.schedule_world import BASE, HOURLY, ScheduleWorld, at, begun
from zo_operator.api.spec import parse_spec
from zo_operator.reconcile.enough import fewest_records

TRAIN = {"train": {"uri": "s3://data/x"}}


def fewest(data=None, **spec):
    return fewest_records(parse_spec(copy.deepcopy(BASE) | {"data": TRAIN | (data or {})} | spec))


def test_what_the_spec_asks_for():
    assert fewest() == 164
    assert fewest(gate={"minExamples": 100}) == 1459
    assert fewest({"evaluation": {"uri": "s3://data/dev"}}, gate={"minExamples": 100}) == 1
    assert fewest({"heldOut": {"examples": 40}}) == 41
    assert fewest({"heldOut": {"fraction": 0}}) == 1


def test_it_is_no_more_than_a_round_takes():
    """Else it would wait for ever, where the runtime has a sentence for what is wrong."""
    assert fewest(optimizer={"steps": 5, "batchSize": 4}, gate={"minExamples": 100}) == 20
    assert fewest({"maxExamples": 50}) == 50
    assert fewest({"heldOut": {"examples": 40}}, optimizer={"steps": 1, "batchSize": 1}) == 41


@given(st.floats(0.01, 0.9), st.integers(1, 300))
def test_so_few_are_hardly_ever_held_out_by_chance(share, judged):
    records = fewest(
        {"heldOut": {"fraction": share}}, gate={"minExamples": judged}, optimizer={"steps": 10**6, "batchSize": 1000}
    )
    fewer = sum(
        math.exp(
            math.lgamma(records + 1) - math.lgamma(k + 1) - math.lgamma(records - k + 1)
            + k * math.log(share) + (records - k) * math.log1p(-share)
        )
        for k in range(min(judged, records + 1))
    )  # fmt: skip
    assert fewer < 1e-3


@pytest.mark.parametrize("by", ["cron", "hand", "age"])
def test_too_few_begin_no_round_and_it_is_told(by):
    schedule = {"freshData": {"ageSeconds": 60, "probeSeconds": 86400}} if by == "age" else HOURLY
    w = ScheduleWorld(schedule, records=163, oldest=at(3), now=at(3, 58))
    w.spec["data"] = TRAIN
    w.settle()
    if by == "hand":
        w.annotations["zofinetune.io/restart"] = "now"
    w.now = at(4)
    w.settle()
    w.look()
    w.wait(600)
    assert w.round is None
    assert w.said("FreshData") == ("False", "TooFewRecords")
    assert w.told == ([] if by == "age" else ["TooFewRecords"])
    w.records = 164
    w.now = at(5) if by != "age" else at(4, day=6)
    if by == "hand":
        w.annotations["zofinetune.io/restart"] = "again"
    begun(w)
