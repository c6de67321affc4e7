"""Prometheus beside the story, as the chart sets it up: its monitors say what is scraped, its rules what alarms.

Debian's Prometheus cannot look for pods itself, so a file tells it of them, in the words that its own discovery uses.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tools.story.manifests import LABELS, NAME, Object

from fakes.kube import FakeKube
from fixtures.chart import of_kind, only, render
from fixtures.dashboards import QUERIES, has_data
from fixtures.prometheus import Prometheus, Target, fixed, running_prometheus

NAMESPACE, RELEASE = "zofinetune-system", "zofinetune"
# Of a query over the whole story, samples: enough that each lies close to a scrape, and fewer than Prometheus allows.
_SAMPLES = 500
_DISCOVERY_SECONDS = 1.0
_FOUND = "__meta_kubernetes_pod"
_ON = {
    "metrics": {
        "serviceMonitor": {"enabled": True},
        "podMonitor": {"enabled": True},
        "servingPodMonitor": {"enabled": True, "matchLabels": LABELS},
        "prometheusRule": {"enabled": True},
    }
}


def scrapes(objects: list[Object], pods: Path, operator_port: int) -> list[dict[str, Any]]:
    """What the chart's monitors become: pods found in the cluster by their labels, and the operator, which is a
    process outside the cluster here."""
    (endpoint,) = only(objects, "ServiceMonitor")["spec"]["endpoints"]
    labels = {"namespace": NAMESPACE, "pod": f"{RELEASE}-0"}
    operator = Target(only(objects, "Service")["metadata"]["name"], operator_port, labels, endpoint["honorLabels"])
    return [*fixed([operator]), *(_of_pods(monitor, pods) for monitor in of_kind(objects, "PodMonitor"))]


def _of_pods(monitor: Object, pods: Path) -> dict[str, Any]:
    """A scrape configuration as Prometheus's operator makes it of a PodMonitor."""
    meta, spec = monitor["metadata"], monitor["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    keep = [
        {"action": "keep", "source_labels": [f"{_FOUND}_label_{_label(name)}"], "regex": value}
        for name, value in spec["selector"]["matchLabels"].items()
    ]
    job = f"{meta['namespace']}/{meta['name']}"
    return {
        "job_name": job,
        "metrics_path": endpoint["path"],
        "file_sd_configs": [{"files": [str(pods)]}],
        "relabel_configs": [
            *keep,
            {"action": "keep", "source_labels": [f"{_FOUND}_container_port_name"], "regex": endpoint["port"]},
            {"action": "drop", "source_labels": [f"{_FOUND}_phase"], "regex": "(Failed|Succeeded)"},
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": [f"{_FOUND}_name"], "target_label": "pod"},
            {"target_label": "job", "replacement": job},
        ],
    }


def _label(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def discovered(pods: list[Object]) -> list[dict[str, Any]]:
    """What Prometheus's own discovery would find: every port of every container of every pod with an address."""
    return [
        {
            "targets": [f"{pod['status']['podIP']}:{port['containerPort']}"],
            "labels": {
                "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
                f"{_FOUND}_name": pod["metadata"]["name"],
                f"{_FOUND}_phase": pod["status"].get("phase", ""),
                f"{_FOUND}_container_port_name": port.get("name", ""),
                **{f"{_FOUND}_label_{_label(name)}": value for name, value in pod["metadata"]["labels"].items()},
            },
        }
        for pod in pods
        if pod.get("status", {}).get("podIP")
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    ]


@contextlib.asynccontextmanager
async def monitored(
    folder: Path, kube: FakeKube, operator_port: int, scrape_seconds: float
) -> AsyncIterator[Prometheus]:
    """Prometheus for the length of a block."""
    folder.mkdir()
    objects = await asyncio.to_thread(render, _ON, RELEASE, NAMESPACE)
    rules = only(objects, "PrometheusRule")["spec"]["groups"]
    pods = folder / "pods.json"
    running = running_prometheus(folder, scrapes(objects, pods, operator_port), rules, scrape_seconds)
    discovery = asyncio.create_task(_discover(kube, pods))
    server = await asyncio.to_thread(running.__enter__)
    try:
        yield server
    finally:
        discovery.cancel()
        await asyncio.to_thread(running.__exit__, None, None, None)


async def _discover(kube: FakeKube, path: Path) -> None:
    """Keep the file up to date, until cancelled."""
    while True:
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(discovered(kube.store.all("pods"))))
        partial.replace(path)
        await asyncio.sleep(_DISCOVERY_SECONDS)


def seen(server: Prometheus, seconds: float) -> dict[str, Any]:
    """What Prometheus has of the last seconds: how many targets of which job answered, which alerts fired, and which
    queries of the dashboards have no answer."""
    variables = {"namespace": "default", "name": NAME, "model": NAME}
    variables |= {"__rate_interval": f"{4 * server.seconds:.0f}s", "__range": f"{seconds:.0f}s"}
    past, step = f"[{seconds:.0f}s]", max(server.seconds, seconds / _SAMPLES)
    empty = [query.id for query in QUERIES if not has_data(server.recently(query.expr(variables), seconds, step))]
    targets = server.now(f"count by (job) (max_over_time(up{past}) == 1)")
    fired = server.now(f'count by (alertname) (count_over_time(ALERTS{{alertstate="firing"}}{past}))')
    return {
        "targets": {each["metric"]["job"]: int(each["value"][1]) for each in targets},
        "alerts": sorted(each["metric"]["alertname"] for each in fired),
        "queries": len(QUERIES),
        "queries_without_data": empty,
    }
