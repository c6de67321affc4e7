"""`zo-operator` as a process of its own: options, ports, logs, signals."""

import asyncio
import contextlib
import json
import signal
import sys

import aiohttp
import kmock
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from fakes.kube import FakeKube
from fakes.kube_workloads import Workloads
from fakes.operator_process import variables
from fakes.world import manifest
from zo_operator.__main__ import main
from zo_operator.cluster.progress import HttpProgressReader
from zo_runtime.progress import Progress


@contextlib.asynccontextmanager
async def process(tmp_path, *options):
    async with FakeKube() as kube, kmock.Server(kube):
        environment = variables(kube, tmp_path / "config") | {"ZO_OPERATOR_POLL_SECONDS": "0.1"}
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "zo_operator", *options, env=environment, stderr=asyncio.subprocess.PIPE
        )
        try:
            yield kube, running
        finally:
            if running.returncode is None:
                running.kill()
            await running.wait()


async def line(running, text):
    """Read the log up to a message; return that record."""
    while True:
        raw = await asyncio.wait_for(running.stderr.readline(), 60)
        assert raw, f"the operator ended before it said {text!r}"
        record = json.loads(raw)
        if text in record["message"]:
            return record


async def scrape(session, port):
    """Every sample, by its name and sorted labels."""
    async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_it_listens_works_measures_and_stops(tmp_path):
    async def check():
        async with process(tmp_path) as (kube, running):
            listening = await line(running, "listening")
            await line(running, "active")
            workloads = Workloads(kube)
            kube.put(manifest())
            async with asyncio.timeout(30):
                while not workloads.pods():
                    workloads.tick()
                    await asyncio.sleep(0.02)
            async with aiohttp.ClientSession() as session:
                for path in ("healthz", "readyz"):
                    async with session.get(f"http://127.0.0.1:{listening['health_port']}/{path}") as answer:
                        assert (answer.status, await answer.text()) == (200, "ok\n")
                phase = (("name", "sst2"), ("namespace", "default"), ("phase", "Pending"))
                samples = {}
                async with asyncio.timeout(30):
                    while samples.get(("zo_resource_phase", phase)) != 1:
                        samples = await scrape(session, listening["metrics_port"])
            assert samples["zo_operator_active", ()] == 1
            assert samples["zo_operator_objects", (("kind", "Job"),)] == 1
            assert any(name == "zo_operator_api_requests_total" for name, _ in samples)
            running.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(running.wait(), 30) == 0

    asyncio.run(check())


def test_it_says_what_is_wrong_with_the_surroundings(tmp_path):
    def refuse(environment):
        result = CliRunner().invoke(
            main, [], env={"KUBERNETES_SERVICE_HOST": None, "HOME": str(tmp_path), **environment}
        )
        assert result.exit_code != 0
        assert "Traceback" not in result.output
        return result.output

    assert "set KUBECONFIG" in refuse({"KUBECONFIG": None})
    assert "KUBECONFIG: cannot be read" in refuse({"KUBECONFIG": str(tmp_path / "missing")})
    assert "ZO_OPERATOR_WORKERS" in refuse({"ZO_OPERATOR_WORKERS": "none"}) or "--workers" in refuse(
        {"ZO_OPERATOR_WORKERS": "none"}
    )


@pytest.mark.parametrize("answer", [b'{"phase":"Training","step":3}', b"{", b"[]", b"x" * 100_000])
def test_progress_over_http(answer):
    async def check():
        async def serve(_):
            return aiohttp.web.Response(body=answer)

        app = aiohttp.web.Application()
        app.router.add_get("/progress", serve)
        runner = aiohttp.web.AppRunner(app)
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        reader = HttpProgressReader(1.0)
        found = await reader.read(f"http://127.0.0.1:{port}/progress")
        expected = Progress(phase="Training", step=3) if answer.startswith(b'{"phase') else None
        assert found == expected
        assert await reader.read(f"http://127.0.0.1:{port}/elsewhere") is None
        await reader.close()
        await runner.cleanup()
        assert await reader.read(f"http://127.0.0.1:{port}/progress") is None
        await reader.close()

    asyncio.run(check())


def test_a_silent_pod_costs_no_more_than_the_time_out():
    async def check():
        async def say_nothing(stream, writer):
            await stream.read()
            writer.close()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        reader, loop = HttpProgressReader(0.2), asyncio.get_running_loop()
        began = loop.time()
        assert await reader.read(f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/progress") is None
        assert loop.time() - began < 5
        await reader.close()
        silent.close()
        await asyncio.sleep(0.05)

    asyncio.run(check())
