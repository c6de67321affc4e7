"""Metrics of resources say what their statuses say, and nothing else."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tools.chart import ROOT

from zo_operator.api.status import Status
from zo_operator.resource_metrics import FRESH, IN_A_ROW, ROUND, STATUS, VERDICT, ResourceCollector

SCHEMA = yaml.safe_load((ROOT / "crds" / "zofinetunes.yaml").read_text())["spec"]["versions"][0]["schema"]
STATUS_SCHEMA = SCHEMA["openAPIV3Schema"]["properties"]["status"]

Samples = dict[str, dict[str, float]]


def scrape(*statuses: dict[str, Any] | None) -> Samples:
    """Metric name, less `zo_resource_`, to resource or label value to sample."""
    resources = [
        {
            "metadata": {"namespace": "ns", "name": f"r{number}", "creationTimestamp": "2026-05-04T03:02:01Z"},
            **({"status": status} if status is not None else {}),
        }
        for number, status in enumerate(statuses)
    ]
    registry = CollectorRegistry()
    registry.register(ResourceCollector(lambda: resources))
    found: Samples = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("namespace") == "ns"
            name = labels.pop("name")
            key = "/".join((name, *labels.values()))
            found.setdefault(sample.name.removeprefix("zo_resource_"), {})[key] = sample.value
    return found


def schema_at(schema: dict[str, Any], path: str) -> dict[str, Any]:
    for part in path.split("."):
        schema = schema["properties"][part]
    return schema


def test_every_path_is_a_number_or_a_time_of_the_crd():
    rounds = STATUS_SCHEMA["properties"]["rounds"]["items"]
    fresh = schema_at(STATUS_SCHEMA, "schedule.fresh")
    sets = [(schema_at(rounds, f"verdict.{part}"), VERDICT) for part in ("heldOut", "regression")]
    for schema, table in ((STATUS_SCHEMA, STATUS), (rounds, ROUND), (fresh, FRESH), *sets):
        for _, _, path in table:
            found = schema_at(schema, path)
            assert found["type"] in ("integer", "number") or found.get("format") == "date-time", path


def test_the_wanted_outcomes_are_outcomes():
    outcomes = schema_at(STATUS_SCHEMA["properties"]["rounds"]["items"], "outcome")["enum"]
    assert {outcome for _, _, outcome in IN_A_ROW} <= set(outcomes)


def test_a_resource_without_a_status_has_only_its_age():
    assert scrape(None) == {"created_timestamp_seconds": {"r0": 1777863721.0}} | {
        name: {"r0": 0.0} for name, _, _ in IN_A_ROW
    }


def test_numbers_times_words_and_conditions_come_from_the_status():
    found = scrape(
        {
            "phase": "Running",
            "step": 7,
            "lossBefore": 0.75,
            "startTime": "2026-05-04T03:02:01Z",
            "conditions": [
                {"type": "Ready", "status": "Unknown"},
                {"type": "Stalled", "status": "False"},
                {"type": "Suspended", "status": "True"},
            ],
            "serving": {"modelName": "assistant", "version": 3, "stage": "Canary"},
        }
    )
    assert found["step"] == {"r0": 7.0}
    assert found["held_out_loss_before"] == {"r0": 0.75}
    assert found["start_timestamp_seconds"] == {"r0": 1777863721.0}
    assert found["phase"]["r0/Running"] == 1.0 and sum(found["phase"].values()) == 1.0
    assert found["condition"] == {"r0/Ready": -1.0, "r0/Stalled": 0.0, "r0/Suspended": 1.0}
    assert found["serving_version"] == {"r0": 3.0}
    assert found["serving_stage"] == {"r0/Canary": 1.0, "r0/All": 0.0}
    assert found["serving_info"] == {"r0/assistant": 1.0}
    assert "loss" not in found and "completion_timestamp_seconds" not in found


def test_what_was_found_in_the_data_is_told_until_a_round_makes_it_stale():
    fresh = {"records": 120, "objects": 2, "oldest": "2026-05-04T03:02:01Z", "changedCount": 0}
    found = scrape({"schedule": {"fresh": fresh, "nextScheduleTime": "2026-05-04T03:02:01Z"}})
    assert found["fresh_records"] == {"r0": 120.0} and found["changed_objects"] == {"r0": 0.0}
    assert found["fresh_oldest_timestamp_seconds"] == found["next_schedule_timestamp_seconds"] == {"r0": 1777863721.0}
    stale = scrape({"schedule": {"fresh": fresh, "stale": True, "nextScheduleTime": "2026-05-04T03:02:01Z"}})
    assert found.keys() - stale.keys() == {
        "fresh_records",
        "fresh_objects",
        "fresh_oldest_timestamp_seconds",
        "changed_objects",
    }


def rounds(*outcomes: str | None) -> dict[str, Any]:
    """Newest first."""
    return {"rounds": [{"number": 9 - i, **({"outcome": o} if o else {})} for i, o in enumerate(outcomes)]}


@pytest.mark.parametrize(
    ("outcomes", "rejected", "failed", "last"),
    [
        ((), 0, 0, None),
        ((None,), 0, 0, None),
        ((None, "Rejected", "Rejected", "Completed", "Rejected"), 2, 0, "Rejected"),
        (("Completed", "Rejected"), 0, 0, "Completed"),
        (("Rejected", "Superseded", "Rejected"), 2, 0, "Rejected"),
        (("Failed", "Failed", "Rejected"), 0, 2, "Failed"),
    ],
)
def test_rounds_in_a_row_are_counted_from_the_newest(outcomes, rejected, failed, last):
    found = scrape(rounds(*outcomes))
    assert found["rejected_rounds_in_a_row"] == {"r0": rejected}
    assert found["failed_rounds_in_a_row"] == {"r0": failed}
    said = {key for key, value in found.get("last_outcome", {}).items() if value}
    assert said == ({f"r0/{last}"} if last else set())


def test_the_newest_verdict_of_a_gate_is_told_with_its_sets_and_no_others():
    better = {"gain": 0.5, "pValue": 0.01}
    rejected = {"accepted": False, "reason": "Regressed", "heldOut": better}
    older = {"accepted": True, "reason": "Improved", "heldOut": better, "regression": {"gain": -0.25, "pValue": 0.75}}
    ungated = {"accepted": True, "reason": "Ungated"}
    assert not [name for name in scrape({"rounds": [{"number": 1, "verdict": ungated}]}) if name.startswith("gate")]
    found = scrape(
        {
            "rounds": [
                {"number": 4},
                {"number": 3, "verdict": ungated},
                {"number": 2, "verdict": rejected},
                {"number": 1, "verdict": older},
            ]
        }
    )
    assert {name: of for name, of in found.items() if name.startswith("gate")} == {
        "gate_accepted": {"r0": 0.0},
        "gate_gain": {"r0/held_out": 0.5},
        "gate_p_value": {"r0/held_out": 0.01},
    }
    found = scrape({"rounds": [{"number": 1, "verdict": older}]})
    assert found["gate_gain"] == {"r0/held_out": 0.5, "r0/regression": -0.25}


def test_the_newest_round_that_says_it_is_read():
    status = {
        "rounds": [
            {"number": 5},
            {"number": 4, "outcome": "Completed", "completionTime": "2026-05-04T03:02:01Z", "seconds": 12.5},
            {"number": 3, "outcome": "Completed", "completionTime": "2026-05-03T03:02:01Z", "seconds": 99.0},
        ]
    }
    found = scrape(status)
    assert found["round"] == {"r0": 5.0}
    assert found["last_round_completion_timestamp_seconds"] == {"r0": 1777863721.0}
    assert found["last_round_seconds"] == {"r0": 12.5}


@given(st.lists(st.sampled_from([None, {}, rounds("Rejected", None), {"phase": "Failed", "step": 1}]), max_size=4))
def test_resources_do_not_mix(statuses):
    alone = [scrape(status) for status in statuses]
    for number, expected in enumerate(alone):
        for name, values in scrape(*statuses).items():
            own = {
                key.replace(f"r{number}", "r0", 1): v
                for key, v in values.items()
                if key.split("/")[0] == f"r{number}"
            }
            assert own == expected.get(name, {})


def test_the_model_of_the_status_and_the_paths_agree():
    """A status as the operator writes it gives a sample for everything that it has."""
    status = Status(step=1, total_steps=2, loss=0.5, held_out_loss=0.4, loss_before=0.6, version=3).to_dict()
    assert json.loads(json.dumps(status)) == status
    assert {name for name, _, path in STATUS if path in status} <= scrape(status).keys()
