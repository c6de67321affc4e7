"""The event loop's side of the process that builds adapters."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Protocol

from zo_runtime.errors import ZOError, by_exit_code
from zo_runtime.serving.wire import Answer, BuildRequest, Built


class Builder(Protocol):
    """Builds adapters; a cancelled `build` stops at once and leaves nothing half-written."""

    async def build(self, request: BuildRequest) -> Built:
        """Find or build an adapter. Raise the `ZOError` that says why not."""

    async def close(self) -> None:
        """Stop."""


class ProcessBuilder:
    """`Builder` in a process of its own, started at the first build and again after it died. One build at a time."""

    def __init__(self, cache: Path) -> None:
        """`cache` is where compiled kernels go if the package's own folder cannot hold them, as in most images."""
        self._environment = dict(os.environ)
        if not os.access(Path(__file__).parent, os.W_OK):
            self._environment.setdefault("NUMBA_CACHE_DIR", str(cache / "kernels"))
        self._turn = asyncio.Lock()
        self._process: Process | None = None

    async def build(self, request: BuildRequest) -> Built:
        """`Builder.build`."""
        async with self._turn:
            process = await self._running()
            try:
                line = await _ask(process, request.model_dump_json())
            except asyncio.CancelledError:
                await self.close()
                raise
            if not line:
                await self.close()
                raise ZOError(
                    f"the process that builds adapters ended with code {process.returncode}; its output is in the "
                    "server's log, and if that is -9 the pod needs more memory"
                )
        answer = Answer.model_validate_json(line)
        if answer.built is None:
            raise _error(answer)
        return answer.built

    async def close(self) -> None:
        """End the process; what it had under way is swept up by its successor."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            command = (sys.executable, "-m", "zo_runtime.serving.builder_process")
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, env=self._environment
            )
        return self._process


async def _ask(process: Process, line: str) -> bytes:
    """The answer to a line; empty if the process is dead."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line.encode() + b"\n")
        await process.stdin.drain()
        return await process.stdout.readline()
    except ConnectionError:
        return b""


def _error(answer: Answer) -> ZOError:
    classes = {cls.reason: cls for cls in by_exit_code().values()}
    return classes.get(answer.reason, ZOError)(answer.message)
