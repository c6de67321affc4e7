"""Argo CD and Flux, with the rules that the chart ships, see the right health in every status of the operator."""

from __future__ import annotations

import copy
from typing import get_args

import pytest
import yaml

from fixtures.health import argo, flux
from fixtures.statuses import FOLDER, record, texts
from zo_operator.api.status import Phase

RESOURCES = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")}
# Situation to phase, Argo CD's health and Flux's.
EXPECTED = {
    "new": ("Pending", "Progressing", "InProgress"),
    "not-seen-yet": ("Succeeded", "Progressing", "InProgress"),
    "queued": ("Queued", "Progressing", "InProgress"),
    "unschedulable": ("Pending", "Progressing", "InProgress"),
    "running": ("Running", "Progressing", "InProgress"),
    "suspending": ("Stopping", "Progressing", "InProgress"),
    "suspended": ("Suspended", "Suspended", "Current"),
    "stopping": ("Stopping", "Progressing", "InProgress"),
    "succeeded": ("Succeeded", "Healthy", "Current"),
    "failed": ("Failed", "Degraded", "Failed"),
    "invalid": ("Failed", "Degraded", "Failed"),
    "waiting-first": ("Waiting", "Healthy", "Current"),
    "waiting": ("Waiting", "Healthy", "Current"),
    "waiting-suspended": ("Suspended", "Suspended", "Current"),
    "running-again": ("Running", "Progressing", "InProgress"),
    "rejected": ("Waiting", "Healthy", "Current"),
    "failed-round": ("Failed", "Degraded", "Failed"),
    "last-round": ("Succeeded", "Healthy", "Current"),
    "served": ("Succeeded", "Healthy", "Current"),
    "rolling-out": ("RollingOut", "Progressing", "InProgress"),
    "awaiting-approval": ("RollingOut", "Suspended", "Current"),
    "rolled-back": ("Failed", "Degraded", "Failed"),
    "replica-missing": ("Succeeded", "Healthy", "Current"),
}


def test_the_recorded_statuses_are_what_the_operator_says_today():
    stale = [path.name for path, text in texts().items() if not path.exists() or path.read_text() != text]
    assert not stale, f"out of date: {stale}: run PYTHONPATH=tests python -m fixtures.statuses"
    assert RESOURCES.keys() == record().keys() == EXPECTED.keys()


def test_every_phase_is_among_them():
    assert {phase for phase, _, _ in EXPECTED.values()} == set(get_args(Phase))


@pytest.mark.parametrize("name", EXPECTED)
def test_both_see_the_right_health(name):
    phase, by_argo, by_flux = EXPECTED[name]
    resource = RESOURCES[name]
    assert resource["status"]["phase"] == phase
    health, message = argo(resource)
    assert health == by_argo, message
    assert message
    assert flux(resource) == by_flux


def test_a_resource_that_the_operator_has_not_seen_is_in_progress():
    new = copy.deepcopy(RESOURCES["new"])
    new["status"] = {}
    assert argo(new)[0] == "Progressing" and flux(new) == "InProgress"
    del new["status"]
    assert argo(new)[0] == "Progressing"


def test_the_message_is_the_operators():
    assert argo(RESOURCES["failed"])[1] == RESOURCES["failed"]["status"]["conditions"][2]["message"]
    assert argo(RESOURCES["running"])[1] == "round at 0%: the leader pod runs"


@pytest.mark.parametrize("state", ["True", "False", "Unknown"])
@pytest.mark.parametrize("kind", ["Ready", "Reconciling", "Stalled", "Suspended"])
def test_one_condition_alone_is_enough_for_a_verdict(kind, state):
    """Whatever a later operator leaves out, nothing is called healthy by mistake."""
    condition = {"type": kind, "status": state, "reason": "R", "message": "m"}
    resource = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "conditions": [condition]}}
    known = {"Ready": "Healthy", "Stalled": "Degraded", "Suspended": "Suspended"}
    expected = known.get(kind, "Progressing") if state == "True" else "Progressing"
    words = {"Healthy": "Current", "Suspended": "Current", "Degraded": "Failed", "Progressing": "InProgress"}
    assert argo(resource)[0] == expected
    assert flux(resource) == words[expected]


def test_kstatus_alone_agrees_but_for_what_is_suspended_or_waits_for_a_person():
    """Flux and `kubectl wait` without the expressions: Reconciling, Stalled and Ready, in the order of kstatus."""
    for name, (_, _, by_flux) in EXPECTED.items():
        resource = RESOURCES[name]
        states = {item["type"]: item["status"] for item in resource["status"]["conditions"]}
        unseen = resource["status"]["observedGeneration"] != resource["metadata"]["generation"]
        if unseen or states["Reconciling"] == "True":
            found = "InProgress"
        elif states["Stalled"] == "True":
            found = "Failed"
        else:
            found = "Current" if states["Ready"] == "True" else "InProgress"
        differs = name in ("suspended", "waiting-suspended", "awaiting-approval")
        assert (found != by_flux) == differs, name
