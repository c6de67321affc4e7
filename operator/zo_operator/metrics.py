"""Prometheus metrics: of the operator itself, and of every resource as its status has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from zo_operator.api.status import Phase, Status, parse_status
from zo_operator.manifests.metadata import Object

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All metrics of one operator, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reconciles = Counter(
            "zo_operator_reconciles", "Reconciles, by result.", ["result"], registry=self.registry
        )
        self.reconcile_seconds = Histogram(
            "zo_operator_reconcile_seconds", "Time of one reconcile.", buckets=_BUCKETS, registry=self.registry
        )
        self.requests = Counter(
            "zo_operator_api_requests",
            "Requests to the Kubernetes API; code 0 is no answer.",
            ["verb", "kind", "code"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "zo_operator_api_request_seconds",
            "Time of one request to the Kubernetes API.",
            ["verb"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.status_writes = Counter("zo_operator_status_writes", "Statuses written.", registry=self.registry)
        self.active = Gauge("zo_operator_active", "1 while this replica is the active one.", registry=self.registry)
        self.synced = Gauge(
            "zo_operator_last_resync_timestamp_seconds",
            "When everything was listed last, in Unix time.",
            registry=self.registry,
        )

    def observe_request(self, verb: str, kind: str, code: int, seconds: float) -> None:
        """Count one request to the Kubernetes API."""
        self.requests.labels(verb, kind, str(code)).inc()
        self.request_seconds.labels(verb).observe(seconds)

    def watch(
        self, source: Callable[[], Iterable[Object]], sizes: Callable[[], dict[str, int]], queue: Callable[[], int]
    ) -> None:
        """Add what is read at the time of a scrape: the resources, the store's size and the queue's depth."""
        self.registry.register(_ResourceCollector(source))
        self.registry.register(_StoreCollector(sizes, queue))


class _StoreCollector(Collector):
    def __init__(self, sizes: Callable[[], dict[str, int]], queue: Callable[[], int]) -> None:
        self._sizes, self._queue = sizes, queue

    def collect(self) -> Iterator[Metric]:
        """Yield the store's size by kind and the queue's depth."""
        objects = GaugeMetricFamily("zo_operator_objects", "Objects known, by kind.", labels=["kind"])
        for kind, number in self._sizes().items():
            objects.add_metric([kind], number)
        yield objects
        yield GaugeMetricFamily("zo_operator_queue_depth", "Resources that wait for a reconcile.", self._queue())


_RESOURCE_GAUGES: tuple[tuple[str, str, Callable[[Status], Any]], ...] = (
    ("zo_resource_step", "Last finished step of the round.", lambda status: status.step),
    ("zo_resource_steps", "Steps of the round.", lambda status: status.total_steps),
    ("zo_resource_loss", "Training loss of the last step.", lambda status: status.loss),
    ("zo_resource_held_out_loss", "Latest held-out loss.", lambda status: status.held_out_loss),
    ("zo_resource_accuracy_before", "Held-out accuracy before the round.", lambda status: status.accuracy_before),
    ("zo_resource_accuracy", "Latest held-out accuracy.", lambda status: status.accuracy_after),
    ("zo_resource_version", "Newest published version.", lambda status: status.version),
    ("zo_resource_round", "Number of the round.", lambda status: status.rounds[0].number if status.rounds else None),
    ("zo_resource_failures", "Failed pods of the round.", lambda status: status.failures),
    ("zo_resource_quarantined_records", "Records that could not be used.", lambda status: status.quarantined),
    (
        "zo_resource_serving_version",
        "Version that replicas are to serve.",
        lambda status: _serving(status, "version"),
    ),
    ("zo_resource_serving_replicas", "Pods that match the selector.", lambda status: _serving(status, "replicas")),
    ("zo_resource_serving_updated", "Replicas that serve it.", lambda status: _serving(status, "updated")),
    (
        "zo_resource_serving_failed",
        "Replicas that do not answer or have failed.",
        lambda status: _serving(status, "failed_replicas"),
    ),
    (
        "zo_resource_completion_timestamp_seconds",
        "When the round ended, in Unix time.",
        lambda status: _unix(status.completion_time),
    ),
)


class _ResourceCollector(Collector):
    """Made anew at each scrape, so that a deleted resource leaves no series behind."""

    def __init__(self, source: Callable[[], Iterable[Object]]) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """Yield one gauge for each measured field, and the phase as one series for each possible value."""
        labels = ["namespace", "name"]
        gauges = [GaugeMetricFamily(name, text, labels=labels) for name, text, _ in _RESOURCE_GAUGES]
        phases = GaugeMetricFamily("zo_resource_phase", "1 for the phase that holds.", labels=[*labels, "phase"])
        ready = GaugeMetricFamily(
            "zo_resource_condition", "1 for True, 0 for False, -1 for Unknown.", labels=[*labels, "condition"]
        )
        for raw in self._source():
            status = parse_status(raw.get("status"))
            key = [raw["metadata"]["namespace"], raw["metadata"]["name"]]
            for gauge, (_, _, read) in zip(gauges, _RESOURCE_GAUGES, strict=True):
                if (value := read(status)) is not None:
                    gauge.add_metric(key, value)
            for phase in get_args(Phase):
                phases.add_metric([*key, phase], float(phase == status.phase))
            for condition in status.conditions:
                ready.add_metric([*key, condition.type], {"True": 1, "False": 0}.get(condition.status, -1))
        yield from (*gauges, phases, ready)


def _serving(status: Status, field: str) -> int | None:
    return getattr(status.serving, field) if status.serving else None


def _unix(time: str | None) -> float | None:
    return None if time is None else datetime.fromisoformat(time).timestamp()
