"""A container's process: a group of its own that ends as the kubelet ends a container, and dies with this process."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# Has the kernel end a process when this one dies without a chance to do so; Linux distributions have it.
_TIED = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


class Process:
    """One run of a command. `code` is 128 and the signal's number for a process that a signal ended."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], cwd: Path, log: Path, grace: float):
        self._command, self._variables, self._cwd, self._log = list(command), dict(variables), cwd, log
        self._grace = grace
        self._process: asyncio.subprocess.Process | None = None
        self.code = 127

    async def start(self) -> None:
        """Start it. A command that is not there ends with 127, as a shell's does."""
        with self._log.open("ab") as out:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *_TIED,
                    *self._command,
                    cwd=self._cwd,
                    env=self._variables,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                out.write(f"{error}\n".encode())

    @property
    def running(self) -> bool:
        """Whether the first process of the container lives."""
        return self._process is not None and self._process.returncode is None

    async def end(self) -> None:
        """SIGTERM to the first process, SIGKILL to all that is left after the grace period, or once it has ended."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), self._grace)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = await process.wait()
        self.code = code if code >= 0 else 128 - code

    def last_words(self, size: int) -> str:
        """The end of the log."""
        return self._log.read_bytes()[-size:].decode(errors="replace")
