"""Many resources against a mock API server: how long a reconcile takes, what it costs, and what rests at rest.

    python -m bench.operator_scale [--resources 1000]

The operator is a process of its own; the mock server, the "kubelet" and this measurement share another. The last
line of output is the result as JSON. Seconds are wall time on a machine that both processes share.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import kmock
import yaml
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

# The mock server is the tests' own.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from bench.command import keep
from bench.machine import machine
from bench.report import Summary, bar_chart
from fakes.kube import FakeKube, Write
from fakes.kube_store import Object, now
from zo_operator import names
from zo_runtime.progress import Progress, Result

POLL_SECONDS = 10.0
# Slow enough for the mock server to keep up on two cores.
CREATIONS_PER_SECOND = 25
STEPS = 1000
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Cluster:
    """The mock server, pods that only claim to run, and one address that answers for all of them."""

    def __init__(self, kube: FakeKube, progress_port: int) -> None:
        self.kube, self.progress_port = kube, progress_port
        self.created: dict[str, float] = {}
        self.job_at: dict[str, float] = {}
        self.status_at: dict[str, float] = {}
        kube.after = self._note

    def _note(self, write: Write) -> None:
        """Remember when the operator made a resource's Job and wrote its first status."""
        moment = time.monotonic()
        if write.plural == "jobs":
            self.job_at.setdefault(write.name.split("-")[1], moment)
        if write.plural == "zofinetunes" and write.subresource == "status":
            self.status_at.setdefault(write.name.removeprefix("r"), moment)

    def create(self, number: int) -> None:
        """One resource."""
        self.created[str(number)] = time.monotonic()
        self.kube.put(
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "metadata": {"name": f"r{number}", "namespace": "default"},
                "spec": {
                    "model": {"name": "model"},
                    "data": {"train": {"uri": "s3://data/train.jsonl"}},
                    "objective": {"classification": {"prompt": "{t}", "labels": {"0": " no", "1": " yes"}}},
                    "optimizer": {"steps": STEPS},
                    "storage": {"uri": f"s3://logs/r{number}"},
                    "metrics": {"port": self.progress_port},
                },
            }
        )

    def start_pods(self) -> None:
        """Every Job gets a running pod."""
        for job in self.kube.store.all("jobs"):
            self.kube.put(_pod(job))
            status = {"startTime": now(), "active": 1}
            self.kube.edit("jobs", job["metadata"]["name"], {"status": status}, status=True)

    def finish_pods(self) -> None:
        """Every pod ends well, and its Job with it."""
        message = Result(ok=True, reason="Completed", steps=STEPS, accuracy_after=0.7).to_termination_message()
        ended = {"terminated": {"exitCode": 0, "message": message, "finishedAt": now()}}
        pod_status = {"phase": "Succeeded", "containerStatuses": [{"name": "runtime", "state": ended}]}
        for pod in self.kube.store.all("pods"):
            self.kube.edit("pods", pod["metadata"]["name"], {"status": pod_status}, status=True)
        complete = {"type": "Complete", "status": "True", "lastTransitionTime": now()}
        for job in self.kube.store.all("jobs"):
            self.kube.edit("jobs", job["metadata"]["name"], {"status": {"conditions": [complete]}}, status=True)

    def phases(self) -> Counter[str]:
        """How many resources are in each phase."""
        return Counter((found.get("status") or {}).get("phase", "") for found in self.kube.store.all("zofinetunes"))


def _pod(job: Object) -> Object:
    name = job["metadata"]["name"]
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
    labels = job["spec"]["template"]["metadata"]["labels"] | {names.LABEL_INDEX: "0"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-0-x",
            "namespace": "default",
            "labels": labels,
            "ownerReferences": [reference],
        },
        "spec": job["spec"]["template"]["spec"],
        "status": {"phase": "Running", "podIP": "127.0.0.1", "containerStatuses": []},
    }


class OperatorProcess:
    """`zo-operator` as a process, and what can be read of it."""

    def __init__(self, process: asyncio.subprocess.Process, metrics_port: int) -> None:
        self.process, self.metrics_port = process, metrics_port

    def megabytes(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return round(int(status.split("VmRSS:")[1].split()[0]) / 1024, 1)

    def cpu_seconds(self) -> float:
        """Time on the processors, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def samples(self) -> Samples:
        """Its metrics."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            text = await answer.text()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@contextlib.asynccontextmanager
async def operator(kube: FakeKube, folder: Path) -> AsyncIterator[OperatorProcess]:
    """Start the operator, wait until it works, stop it at the end."""
    config = folder / "kubeconfig"
    config.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": {"server": str(kube.url).rstrip("/")}}],
                "users": [{"name": "u", "user": {"token": "operator"}}],
            }
        )
    )
    ports = {"ZO_OPERATOR_HOST": "127.0.0.1", "ZO_OPERATOR_HEALTH_PORT": "0", "ZO_OPERATOR_METRICS_PORT": "0"}
    own = {"KUBECONFIG": str(config), "ZO_OPERATOR_POLL_SECONDS": str(POLL_SECONDS)}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "zo_operator", env={**inherited, **ports, **own}, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    port = 0
    while line := await process.stderr.readline():
        record = json.loads(line)
        port = record.get("metrics_port", port)
        if record["message"] == "active":
            break
    drain = asyncio.create_task(_drain(process.stderr))
    try:
        yield OperatorProcess(process, port)
    finally:
        process.terminate()
        await process.wait()
        await drain


async def _drain(stream: asyncio.StreamReader) -> None:
    while line := await stream.readline():
        print(line.decode().rstrip(), file=sys.stderr)


async def until(ready: Callable[[], bool], limit: float = 600.0) -> float:
    """Seconds until something holds."""
    began = time.monotonic()
    while not ready():
        if time.monotonic() - began > limit:
            raise TimeoutError("the operator does not get there")
        await asyncio.sleep(0.1)
    return round(time.monotonic() - began, 2)


def quantiles(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile, in seconds."""
    cuts = statistics.quantiles(values, n=20)
    return {"p50": round(cuts[9], 4), "p95": round(cuts[18], 4)}


def histogram_quantile(samples: Samples, name: str, share: float) -> float:
    """A quantile of a Prometheus histogram, as `histogram_quantile` reckons it."""
    buckets = sorted(
        (float(dict(labels)["le"]), value) for (found, labels), value in samples.items() if found == f"{name}_bucket"
    )
    rank, low, below = share * buckets[-1][1], 0.0, 0.0
    for edge, count in buckets:
        if count >= rank:
            return (
                round(low + (edge - low) * (rank - below) / max(1.0, count - below), 4)
                if edge != float("inf")
                else low
            )
        low, below = edge, count
    return low


async def at_rest(cluster: Cluster, running: OperatorProcess, seconds: float) -> dict[str, float]:
    """What happens while nothing happens."""
    writes, reads, cpu = len(cluster.kube.writes), len(cluster.kube.reads), running.cpu_seconds()
    await asyncio.sleep(seconds)
    return {
        "seconds": seconds,
        "writes": len(cluster.kube.writes) - writes,
        "reads": len(cluster.kube.reads) - reads,
        "cpu_seconds": round(running.cpu_seconds() - cpu, 2),
    }


async def measure(count: int, rest: float) -> dict[str, Any]:
    """The whole course: create, rest, run, finish, rest, restart."""
    result: dict[str, Any] = {"resources": count}
    step = 0

    async def answer(_: web.Request) -> web.Response:
        report = Progress(phase="Training", step=step, total_steps=STEPS, loss=0.5, flushed_step=step)
        return web.Response(body=report.model_dump_json(by_alias=True), content_type="application/json")

    app = web.Application()
    app.router.add_get("/progress", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    with tempfile.TemporaryDirectory() as folder:
        async with FakeKube(check_builtin=False) as kube, kmock.Server(kube):
            cluster = Cluster(kube, runner.addresses[0][1])
            async with operator(kube, Path(folder)) as running:
                result["memory_mb_empty"] = running.megabytes()
                for number in range(count):
                    cluster.create(number)
                    await asyncio.sleep(1 / CREATIONS_PER_SECOND)
                result["seconds_to_converge"] = await until(lambda: cluster.phases()["Pending"] == count)
                result["creation_to_job_seconds"] = quantiles(
                    [at - cluster.created[n] for n, at in _numbers(cluster.job_at)]
                )
                result["api_calls_per_resource"] = round(len(kube.writes) / count, 2)
                samples = await running.samples()
                name = "zo_operator_reconcile_seconds"
                result["reconcile_seconds"] = {
                    "p50": histogram_quantile(samples, name, 0.5),
                    "p95": histogram_quantile(samples, name, 0.95),
                    "count": int(samples[f"{name}_count", ()]),
                }
                result["memory_mb"] = running.megabytes()
                result["rest_pending"] = await at_rest(cluster, running, rest)
                cluster.start_pods()
                result["seconds_to_run"] = await until(lambda: cluster.phases()["Running"] == count)
                step = 100
                result["running"] = await at_rest(cluster, running, 2 * POLL_SECONDS)
                result["memory_mb_running"] = running.megabytes()
                before = len(kube.writes)
                cluster.finish_pods()
                result["seconds_to_finish"] = await until(lambda: cluster.phases()["Succeeded"] == count)
                result["api_calls_per_finish"] = round((len(kube.writes) - before) / count, 2)
                result["rest_finished"] = await at_rest(cluster, running, rest)
                result["memory_mb_finished"] = running.megabytes()
            before, began = len(kube.writes), time.monotonic()
            async with operator(kube, Path(folder)) as again:
                result["seconds_to_restart"] = round(time.monotonic() - began, 2)
                await asyncio.sleep(rest)
                result["writes_after_restart"] = len(kube.writes) - before
                result["memory_mb_restarted"] = again.megabytes()
    await runner.cleanup()
    return result


def _numbers(moments: dict[str, float]) -> list[tuple[str, float]]:
    return [(name.removeprefix("r"), moment) for name, moment in moments.items()]


def picture(result: dict[str, Any]) -> str:
    """The two latencies; the line ends at the 95th percentile."""
    names = {"a reconcile": "reconcile_seconds", "creation to Job": "creation_to_job_seconds"}
    bars = {
        name: Summary(1e3 * result[key]["p50"], 1e3 * result[key]["p50"], 1e3 * result[key]["p95"])
        for name, key in names.items()
    }
    return bar_chart(f"{result['resources']} resources: median, and 95th percentile", "ms", bars)


def main() -> None:
    """Measure, write `operator_scale.json` and `operator_scale.svg`, and end with one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--resources", type=int, default=1000, help="number of resources")
    parser.add_argument("--rest", type=float, default=20.0, help="seconds to watch the operator at rest")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="where the JSON and picture go")
    arguments = parser.parse_args()
    before = machine()
    result = asyncio.run(measure(arguments.resources, arguments.rest)) | {"machine": before}
    keep(arguments.out, "operator_scale", result, picture(result))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
