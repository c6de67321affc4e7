"""The operator's own settings: options of `zo-operator`, each also an environment variable `ZO_OPERATOR_...`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Times are in seconds."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty for all."""
    runtime_image: str = "zofinetune/runtime:0.1.0"
    """Image of the pods where `spec.runtime.image` names none."""
    host: str = "0.0.0.0"  # noqa: S104 -- probes come from the node, scrapes from other pods
    """Address that the two ports below listen on."""
    health_port: int = 8080
    """Port of `/healthz` and `/readyz`."""
    metrics_port: int = 9090
    """Port of `/metrics`."""
    workers: int = 8
    """Resources that are reconciled at the same time."""
    poll_seconds: float = 10.0
    """Time between two questions for a run's progress, and so between two status writes of a run."""
    poll_timeout: float = 3.0
    """Longest wait for a run's answer."""
    query_timeout: float = 10.0
    """Longest wait for Prometheus's answer to one query of `spec.serving.rollout.checks`."""
    resync_seconds: float = 600.0
    """Time after which everything is listed and looked at again, whatever the watches said."""
    backoff_seconds: float = 1.0
    """First pause after a reconcile that failed; it doubles."""
    backoff_limit_seconds: float = 300.0
    """Longest pause after a reconcile that failed."""
    request_timeout: float = 30.0
    """Longest wait for the Kubernetes API's answer to one request."""
    connect_timeout: float = 10.0
    """Longest wait for a connection to the Kubernetes API."""
    watch_timeout: int = 290
    """Longest life of one watch request; a new one takes over without a gap. The API server takes whole seconds
    only."""
    drain_seconds: float = 10.0
    """Time that reconciles in progress have when the operator stops."""
    lease_name: str = ""
    """Name of the Lease that makes one of several replicas the active one. Empty: no standby, no Lease."""
    lease_namespace: str = "default"
    """Namespace of the Lease."""
    identity: str = ""
    """Name of this replica in the Lease. Default: the host's name."""
    lease_seconds: float = 15.0
    """Time after which a silent holder loses the Lease."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: str = "json"
    """`json` or `text`."""

    @property
    def clusterwide(self) -> bool:
        """Whether every namespace is watched."""
        return not self.namespaces
