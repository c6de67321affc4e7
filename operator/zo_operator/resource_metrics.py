"""Prometheus metrics of every resource, read from its status at the time of a scrape.

A deleted resource so leaves no series behind, and what a status does not say has no series, never a 0 in its place.
Fields are named by their path in the status as the CRD has it; a test holds every path against the CRD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import takewhile
from typing import Any, get_args

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from zo_operator.api.serving_status import Stage
from zo_operator.api.status import Outcome, Phase
from zo_operator.manifests.metadata import Object

KEY = ("namespace", "name")
"""Labels of every series here. They name the resource and not the operator's pod: scrape them with `honorLabels`."""

STATUS: tuple[tuple[str, str, str], ...] = (
    ("step", "Last finished step of the round.", "step"),
    ("steps", "Steps of the round.", "totalSteps"),
    ("loss", "Training loss of the last step.", "loss"),
    ("held_out_loss", "Latest held-out loss.", "heldOutLoss"),
    ("held_out_loss_before", "Held-out loss before the round.", "lossBefore"),
    ("accuracy_before", "Held-out accuracy before the round.", "accuracyBefore"),
    ("accuracy", "Latest held-out accuracy.", "accuracyAfter"),
    ("tokens_per_second", "Tokens that the round scores per second.", "tokensPerSecond"),
    ("version", "Newest published version.", "version"),
    ("failures", "Failed pods of the round.", "failures"),
    ("quarantined_records", "Records that could not be used.", "quarantined"),
    ("start_timestamp_seconds", "When the round began, in Unix time.", "startTime"),
    ("completion_timestamp_seconds", "When the round ended, in Unix time.", "completionTime"),
    ("next_schedule_timestamp_seconds", "The next time of the schedule, in Unix time.", "schedule.nextScheduleTime"),
    ("last_probe_timestamp_seconds", "When a look at the data ended last, in Unix time.", "schedule.lastProbeTime"),
    ("probe_failures", "Looks at the data that failed, one after another.", "schedule.probeFailures"),
    ("serving_version", "Version that replicas are to serve.", "serving.version"),
    ("serving_replicas", "Pods that match the selector.", "serving.replicas"),
    ("serving_updated", "Replicas that serve it.", "serving.updated"),
    ("serving_failed", "Replicas that do not answer or have failed.", "serving.failedReplicas"),
)
"""Numbers and times of the status: name after `zo_resource_`, help, path. Times become Unix time."""

FRESH: tuple[tuple[str, str, str], ...] = (
    ("fresh_records", "Records that no round has learned from.", "records"),
    ("fresh_objects", "Objects with such records.", "objects"),
    ("fresh_bytes", "Their size.", "bytes"),
    ("fresh_oldest_timestamp_seconds", "When the oldest of them was written, in Unix time.", "oldest"),
    ("fresh_quarantined_records", "Fresh records that cannot be used.", "quarantined"),
    ("changed_objects", "Objects that were learned from and are other ones now.", "changedCount"),
    ("gone_objects", "Objects that were learned from and are gone.", "goneCount"),
)
"""The same of `schedule.fresh`, while it holds: a round that begins or ends makes it stale until the next look."""

ROUND: tuple[tuple[str, str, str], ...] = (
    ("round", "Number of the newest round.", "number"),
    ("last_round_completion_timestamp_seconds", "When a round ended last, in Unix time.", "completionTime"),
    ("last_round_seconds", "Seconds that the runtime took for the latest round that it told of.", "seconds"),
)
"""The same of the newest of `rounds` that says it."""

VERDICT: tuple[tuple[str, str, str], ...] = (
    ("gate_gain", "Mean gain over the served version, in the gate's metric; positive is better.", "gain"),
    ("gate_p_value", "One-sided p-value of the gain against the gate's margin.", "pValue"),
)
"""The same of each set of examples that the newest verdict of a gate compares on."""

IN_A_ROW: tuple[tuple[str, str, str], ...] = (
    ("failed_rounds_in_a_row", "Latest rounds that failed, one after another.", "Failed"),
    ("rejected_rounds_in_a_row", "Latest rounds that the gate rejected, one after another.", "Rejected"),
)
"""How many of the latest rounds, one after another, had this outcome."""


class ResourceCollector(Collector):
    """All series of all resources."""

    def __init__(self, source: Callable[[], Iterable[Object]]) -> None:
        """`source` gives the resources as they are stored."""
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """Yield one gauge for each number, and for each word one with a series for every possible value."""
        numbers = [(_gauge(name, text), read) for name, text, read in _NUMBERS]
        words = [(_gauge(name, text, label), values, read) for name, text, label, values, read in _WORDS]
        verdicts = [(_gauge(name, text, "set"), field) for name, text, field in VERDICT]
        conditions = _gauge("condition", "1 for True, 0 for False, -1 for Unknown.", "condition")
        for raw in self._source():
            key = [raw["metadata"]["namespace"], raw["metadata"]["name"]]
            for gauge, read in numbers:
                if (value := _number(read(raw))) is not None:
                    gauge.add_metric(key, value)
            for gauge, values, read in words:
                if (word := read(raw)) is not None:
                    for possible in values or (word,):
                        gauge.add_metric([*key, possible], float(possible == word))
            verdict = _verdict(raw)
            for gauge, field in verdicts:
                for name, part in _SETS:
                    if (value := _at(verdict, f"{part}.{field}")) is not None:
                        gauge.add_metric([*key, name], value)
            for condition in _at(raw, "status.conditions") or ():
                state = {"True": 1, "False": 0}.get(condition["status"], -1)
                conditions.add_metric([*key, condition["type"]], state)
        yield from (gauge for gauge, _ in numbers)
        yield from (gauge for gauge, _, _ in words)
        yield from (gauge for gauge, _ in verdicts)
        yield conditions


Read = Callable[[Object], Any]


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"zo_resource_{name}", text, labels=[*KEY, *labels])


def _number(value: Any) -> float | None:
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value


def _at(value: Any, path: str) -> Any:
    """What stands at a dotted path; none where the path ends early."""
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _field(path: str) -> Read:
    return lambda raw: _at(raw, path)


def _fresh(path: str) -> Read:
    return lambda raw: None if _at(raw, "status.schedule.stale") else _at(raw, f"status.schedule.fresh.{path}")


def _newest(path: str) -> Read:
    """What the newest round says that says anything at this path."""

    def read(raw: Object) -> Any:
        said = (_at(each, path) for each in _at(raw, "status.rounds") or ())
        return next((value for value in said if value is not None), None)

    return read


def _verdict(raw: Object) -> Any:
    """The newest verdict of a gate. The runtime's pod ends with it, too soon for a scrape of its own metrics."""
    verdicts = (each.get("verdict") for each in _at(raw, "status.rounds") or ())
    return next((found for found in verdicts if found and found["reason"] != "Ungated"), None)


def _accepted(raw: Object) -> float | None:
    verdict = _verdict(raw)
    return None if verdict is None else float(verdict["accepted"])


def _ended(raw: Object) -> list[str]:
    """How rounds have ended, newest first. One that is going on or was replaced says nothing of the data."""
    outcomes = (each.get("outcome") for each in _at(raw, "status.rounds") or ())
    return [outcome for outcome in outcomes if outcome not in (None, "Superseded")]


def _in_a_row(wanted: str) -> Read:
    return lambda raw: len(list(takewhile(lambda outcome: outcome == wanted, _ended(raw))))


_NUMBERS: tuple[tuple[str, str, Read], ...] = (
    (
        "created_timestamp_seconds",
        "When the resource was created, in Unix time.",
        _field("metadata.creationTimestamp"),
    ),
    *((name, text, _field(f"status.{path}")) for name, text, path in STATUS),
    *((name, text, _fresh(path)) for name, text, path in FRESH),
    *((name, text, _newest(path)) for name, text, path in ROUND),
    *((name, text, _in_a_row(outcome)) for name, text, outcome in IN_A_ROW),
    ("gate_accepted", "Whether the gate accepted the version that it judged last: 1 or 0.", _accepted),
)
# The label `set` and where the verdict has it.
_SETS = (("held_out", "heldOut"), ("regression", "regression"))
# Name, help, label, possible values and where to read it; with no values there is one series, for what is read.
_WORDS: tuple[tuple[str, str, str, tuple[str, ...], Read], ...] = (
    ("phase", "1 for the phase that holds.", "phase", get_args(Phase), _field("status.phase")),
    (
        "last_outcome",
        "1 for how the round ended that ended last.",
        "outcome",
        get_args(Outcome),
        lambda raw: next(iter(_ended(raw)), None),
    ),
    ("serving_stage", "1 for the stage of the rollout.", "stage", get_args(Stage), _field("status.serving.stage")),
    ("serving_info", "1, with the name that clients call.", "model_name", (), _field("status.serving.modelName")),
)
