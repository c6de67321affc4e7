"""A real vLLM API server with the plugin, as a replica of a serving Deployment would run it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from zo_runtime.serving.contract import ADAPTERS_ROUTE, ServedAdapter

READY_SECONDS = 450.0


class Replica:
    """One server process on a free port of this machine, with its cache, desired state and log in a folder."""

    def __init__(
        self,
        model: Path,
        folder: Path,
        *,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        pod: str = "replica-0",
        key: str | None = None,
    ):
        self.desired, self.cache, self.pod = folder / "desired", folder / "cache", pod
        self.log = folder / "server.log"
        self.key = key
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.desired.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)),
            *("--host", "127.0.0.1", "--port", str(self.port), "--served-model-name", "base"),
            *("--max-model-len", "256", "--kv-cache-memory-bytes", str(2**27), "--max-num-batched-tokens", "512"),
            *("--enable-lora", "--max-loras", "2", "--max-cpu-loras", "4", "--max-lora-rank", "8"),
            *("--enable-prefix-caching", "--disable-uvicorn-access-log"),
            *(("--api-key", key) if key else ()),
            *options,
        ]
        self._environment = {
            **os.environ,
            "VLLM_PLUGINS": "zofinetune",
            "VLLM_NO_USAGE_STATS": "1",
            "ZO_DESIRED_STATE": str(self.desired),
            "ZO_CACHE_DIR": str(self.cache),
            "POD_NAME": pod,
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; `wait_ready` waits for it."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self._command, stdout=out, stderr=out, env=self._environment, start_new_session=True
            )

    def wait_ready(self) -> None:
        """Wait until the server answers. Raise RuntimeError with the end of its log if it does not."""
        deadline = time.monotonic() + READY_SECONDS
        while self.process is not None and self.process.poll() is None and time.monotonic() < deadline:
            try:
                self.get("/health")
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"the server did not start: {self.log.read_text(errors='replace')[-4000:]}")

    def get(self, path: str) -> bytes:
        """The answer to a GET. Raise OSError."""
        request = urllib.request.Request(self.url + path, headers=self._headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            data: bytes = answer.read()
        return data

    def adapters(self) -> dict[str, ServedAdapter]:
        """What the replica says that it serves, by name."""
        answer = json.loads(self.get(ADAPTERS_ROUTE))
        assert answer["pod"] == self.pod
        return {fields["name"]: ServedAdapter.model_validate(fields) for fields in answer["adapters"]}

    def complete(self, **fields: Any) -> dict[str, Any]:
        """A completion, without the OpenAI client."""
        body = json.dumps({"temperature": 0, **fields}).encode()
        headers = {"Content-Type": "application/json", **self._headers}
        request = urllib.request.Request(f"{self.url}/v1/completions", body, headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def kill(self) -> None:
        """SIGKILL to the server and all its processes, as a node that goes down."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, as a pod's deletion; SIGKILL if that is not enough."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
