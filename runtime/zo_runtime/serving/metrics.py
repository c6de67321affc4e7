"""Prometheus metrics of a serving replica, in the registry that the server itself exposes."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_SWAP_BUCKETS = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_LOAD_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ServingMetrics:
    """What `docs/serving.md` lists. With several API server processes gauges show what was set last."""

    def __init__(self, registry: CollectorRegistry = REGISTRY):
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, ("model_name",), registry=registry, multiprocess_mode="mostrecent")

        self.version = gauge("zo_serving_version", "Version that answers requests.")
        self.step = gauge("zo_serving_step", "Step of the adapter that answers requests.")
        self.converged = gauge("zo_serving_converged", "1 if what is served is what is desired, else 0.")
        self.age = gauge(
            "zo_serving_desired_state_age_seconds", "Seconds since this replica first saw the present target."
        )
        self.swaps = Counter("zo_serving_swaps", "Switches to another version.", ("model_name",), registry=registry)
        self.swap_seconds = Histogram(
            "zo_serving_swap_seconds",
            "Seconds from the first sight of a target until new requests went to it.",
            ("model_name",),
            registry=registry,
            buckets=_SWAP_BUCKETS,
        )
        self.load_seconds = Histogram(
            "zo_serving_load_seconds",
            "Seconds that the engine took to load a version.",
            ("model_name",),
            registry=registry,
            buckets=_LOAD_BUCKETS,
        )
        self.failures = Counter(
            "zo_serving_failures",
            "Attempts to verify, build or load a version that failed, by reason.",
            ("model_name", "reason"),
            registry=registry,
        )
