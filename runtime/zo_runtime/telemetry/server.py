"""The runtime's HTTP port: `/metrics`, `/progress` and `/healthz`, for reading only.

Everything answers from values that the training loop left behind: no request waits for a step, changes the run
or can stop it. Requests have their own daemon threads, a bounded number of them, each with a time limit.
"""

from __future__ import annotations

import errno
import logging
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any, Self

from zo_runtime.errors import InvalidSpec
from zo_runtime.progress import Progress
from zo_runtime.telemetry.metrics import RunMetrics

logger = logging.getLogger(__name__)

# A client that takes longer, in seconds, to send its request or to read the answer is cut off.
CLIENT_TIMEOUT = 5.0
# Requests answered at once. One more waits this long, in seconds, for a free thread before it is dropped.
MAX_REQUESTS = 16
_WAIT_SECONDS = 1.0
_POLL_SECONDS = 0.2
# What is read, in bytes, of a refused request's body, so that the client is still there to read the refusal.
_MAX_BODY = 65536


class TelemetryServer:
    """Serves a run's metrics and progress while its `with` block runs.

    Port 0 means that nothing is served, as `spec.metrics.port: 0` says; with `ephemeral` it means any free port.

    Raises:
        InvalidSpec: on entry, when the address cannot be listened on; names `spec.metrics.port` or `.host`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: RunMetrics,
        progress: Callable[[], Progress],
        *,
        ephemeral: bool = False,
    ) -> None:
        self._address = (host, port)
        self._off = port == 0 and not ephemeral
        self._routes: dict[str, Route] = {
            "/metrics": metrics.expose,
            "/progress": lambda _: (progress().model_dump_json(by_alias=True).encode(), "application/json"),
            "/healthz": lambda _: (b"ok\n", "text/plain; charset=utf-8"),
        }
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; 0 when nothing is served."""
        return int(self._server.server_address[1]) if self._server else 0

    def __enter__(self) -> Self:
        if not self._off:
            self._server = _listen(self._address, self._routes)
            self._thread = threading.Thread(
                target=self._server.serve_forever, args=(_POLL_SECONDS,), name="zo-telemetry", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None


# From the `Accept` header to a body and its content type.
Route = Callable[[str], tuple[bytes, str]]


def _listen(address: tuple[str, int], routes: dict[str, Route]) -> _Server:
    host, port = address
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return _Server(address, family, routes)
    except socket.gaierror as error:
        raise InvalidSpec(f"spec.metrics.host: {host!r} is no address of this machine: {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = "another process listens there: choose a free port, or 0 to serve no metrics"
        elif error.errno in {errno.EACCES, errno.EPERM}:
            remedy = "the system does not allow it: choose a port above 1023, or 0 to serve no metrics"
        else:
            reason = f"{host!r} cannot be listened on: {error.strerror}"
            raise InvalidSpec(f"spec.metrics.host: {reason}") from error
        raise InvalidSpec(f"spec.metrics.port: {port} cannot be used on {host}: {remedy}") from error


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily, routes: dict[str, Route]) -> None:
        self.address_family = family
        self.routes = routes
        self._free = threading.BoundedSemaphore(MAX_REQUESTS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(timeout=_WAIT_SECONDS):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are no news; anything else is a fault of ours, and goes to the log."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            logger.exception("a telemetry request failed")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "zofinetune"
    sys_version = ""
    timeout = CLIENT_TIMEOUT

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Whatever other method a client names, it is refused the same way."""
        if name.startswith("do_"):
            return self._refuse
        raise AttributeError(name)

    def _answer(self, *, with_body: bool) -> None:
        route = self.server.routes.get(self.path.partition("?")[0])
        if route is None:
            body = b"not found: /metrics, /progress and /healthz are here\n"
            self._send(HTTPStatus.NOT_FOUND, body, "text/plain; charset=utf-8", with_body=with_body)
        else:
            body, content_type = route(self.headers.get("Accept", ""))
            self._send(HTTPStatus.OK, body, content_type, with_body=with_body)

    def _refuse(self) -> None:
        length = self.headers.get("Content-Length", "")
        if length.isdecimal():
            self.rfile.read(min(int(length[:9]), _MAX_BODY))
        body = b"only GET and HEAD are served\n"
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, body, "text/plain; charset=utf-8", with_body=True)

    def _send(self, status: HTTPStatus, body: bytes, content_type: str, *, with_body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: scrapes would drown everything else."""
