"""The HTTP port answers reads, refuses the rest, and neither hangs nor falls over."""

import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from zo_runtime.errors import InvalidSpec
from zo_runtime.progress import Progress
from zo_runtime.telemetry import server as server_module
from zo_runtime.telemetry.metrics import RunMetrics
from zo_runtime.telemetry.server import MAX_REQUESTS, TelemetryServer

PROGRESS = Progress(phase="Training", step=3, total_steps=10, loss=float("nan"), accuracy=0.5, log_uri="out")


@pytest.fixture
def server() -> Iterator[TelemetryServer]:
    with TelemetryServer("127.0.0.1", 0, RunMetrics("demo"), lambda: PROGRESS, ephemeral=True) as running:
        yield running


def ask(
    server: TelemetryServer, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def talk(server: TelemetryServer, raw: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_progress_is_json_with_camel_case_and_no_nan(server: TelemetryServer) -> None:
    status, headers, body = ask(server, "GET", "/progress?pretty")
    assert (status, headers["content-type"]) == (200, "application/json")
    content = json.loads(body, parse_constant=pytest.fail)
    assert content["totalSteps"] == 10
    assert content["loss"] is None
    assert Progress.model_validate_json(body).step == 3


def test_metrics_follow_the_accept_header(server: TelemetryServer) -> None:
    status, headers, body = ask(server, "GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert status == 200
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert ask(server, "GET", "/metrics")[1]["content-type"].startswith("text/plain; version=0.0.4")


def test_healthz_and_the_server_header_tell_no_versions(server: TelemetryServer) -> None:
    status, headers, body = ask(server, "GET", "/healthz")
    assert (status, body) == (200, b"ok\n")
    assert headers["server"].strip() == "zofinetune"


@pytest.mark.parametrize("path", ["/", "/metric", "/progress/", "/../etc/passwd", "http://x/metrics", "//healthz/x"])
def test_other_paths_are_not_found(server: TelemetryServer, path: str) -> None:
    assert ask(server, "GET", path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused(server: TelemetryServer, method: str) -> None:
    body = b"x" * 30000 if method in {"POST", "PUT"} else None
    status, headers, _ = ask(server, method, "/metrics", body)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_head_has_the_headers_of_get_and_no_body(server: TelemetryServer) -> None:
    status, headers, body = ask(server, "HEAD", "/progress")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) == len(ask(server, "GET", "/progress")[2])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET " + b"/" * 70000 + b" HTTP/1.0\r\n\r\n",
        b"GET /metrics HTTP/1.0\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text;version=x\r\n\r\n",
        b"POST / HTTP/1.0\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.0\r\nContent-Length: 99999999999999999999\r\n\r\nshort",
    ],
)
def test_malformed_requests_do_no_harm(
    server: TelemetryServer, raw: bytes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    talk(server, raw)
    assert ask(server, "GET", "/healthz")[0] == 200
    assert capsys.readouterr().err == ""
    assert caplog.records == []


def test_idle_clients_are_cut_off_and_do_not_hold_up_others_or_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module._Handler, "timeout", 0.5)
    monkeypatch.setattr(server_module, "_WAIT_SECONDS", 0.05)
    with TelemetryServer("127.0.0.1", 0, RunMetrics("demo"), lambda: PROGRESS, ephemeral=True) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(MAX_REQUESTS + 4)]
        assert [client.recv(1) for client in idle] == [b""] * len(idle)
        assert ask(server, "GET", "/healthz")[0] == 200
        late = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(MAX_REQUESTS + 4)]
        began = time.monotonic()
    assert time.monotonic() - began < 5
    for client in idle + late:
        client.close()


def test_a_client_that_vanishes_is_no_news(server: TelemetryServer, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        client.close()
    assert ask(server, "GET", "/healthz")[0] == 200
    assert caplog.records == []


def test_a_fault_of_ours_is_logged_and_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Progress:
        raise RuntimeError("broken tracker")

    with (
        caplog.at_level(logging.ERROR),
        TelemetryServer("127.0.0.1", 0, RunMetrics("demo"), fail, ephemeral=True) as server,
    ):
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server, "GET", "/progress")
        assert ask(server, "GET", "/healthz")[0] == 200
    assert "broken tracker" in caplog.text


def test_many_scrapes_at_once_while_the_run_goes_on(server: TelemetryServer) -> None:
    answers: list[int] = []

    def scrape() -> None:
        answers.extend(ask(server, "GET", "/metrics")[0] for _ in range(5))

    threads = [threading.Thread(target=scrape) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 40


def test_port_zero_serves_nothing() -> None:
    before = threading.active_count()
    with TelemetryServer("127.0.0.1", 0, RunMetrics("demo"), lambda: PROGRESS) as server:
        assert server.port == 0
        assert threading.active_count() == before


def test_the_port_is_free_again_afterwards() -> None:
    with TelemetryServer("127.0.0.1", 0, RunMetrics("demo"), lambda: PROGRESS, ephemeral=True) as first:
        port = first.port
        ask(first, "GET", "/healthz")
    with TelemetryServer("127.0.0.1", port, RunMetrics("demo"), lambda: PROGRESS) as second:
        assert second.port == port


def test_a_taken_port_names_the_field(server: TelemetryServer) -> None:
    with (
        pytest.raises(InvalidSpec, match=rf"^spec\.metrics\.port: {server.port} cannot be used on 127\.0\.0\.1"),
        TelemetryServer("127.0.0.1", server.port, RunMetrics("demo"), lambda: PROGRESS),
    ):
        pytest.fail("the port was taken")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours_names_the_field(host: str) -> None:
    with (
        pytest.raises(InvalidSpec, match=r"^spec\.metrics\.host: "),
        TelemetryServer(host, 0, RunMetrics("demo"), lambda: PROGRESS, ephemeral=True),
    ):
        pytest.fail("the address is not ours")
