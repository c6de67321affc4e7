"""Prometheus metrics: of the operator itself, and of every resource as its status has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from zo_operator.manifests.metadata import Object
from zo_operator.resource_metrics import ResourceCollector

RESULTS = ("ok", "gone", "conflict", "refused", "unavailable", "error")
"""How a reconcile can end."""
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All metrics of one operator, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reconciles = Counter(
            "zo_operator_reconciles", "Reconciles, by result.", ["result"], registry=self.registry
        )
        for result in RESULTS:  # a counter that exists from the start has no first increase to miss
            self.reconciles.labels(result)
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
        self.registry.register(ResourceCollector(source))
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
