"""Who a writer is, and whether another one of the same machine still runs.

A pid means something only within one boot and one pid namespace: two containers of a node share the boot and,
when a Job replaces its pod, even the host name, but each counts its own pids. Where the system does not tell these
(no /proc), nobody counts as being on the same machine, and only the lease decides.
"""

from __future__ import annotations

import os
import platform
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zo_runtime.deltalog.documents import WriterInfo

_PROC = Path("/proc")
_START_TIME = 19  # field 22 of /proc/<pid>/stat, counted from the state, which is field 3


class Identity(Protocol):
    """What an opened log asks of the process that opens it."""

    def claim(self, epoch: int) -> WriterInfo:
        """What to write into LATEST.json on taking the run."""

    def is_alive(self, writer: WriterInfo) -> bool | None:
        """Whether the process of `writer` runs; None if that cannot be told from here."""


@dataclass(frozen=True)
class Process:
    """This process, as one writer: another `open` in the same process is another writer."""

    id: str
    host: str
    pid: int
    boot_id: str
    pid_namespace: str
    process_start: str

    @classmethod
    def current(cls) -> Process:
        """Describe the running process."""
        return cls(
            id=uuid.uuid4().hex,
            host=platform.node(),
            pid=os.getpid(),
            boot_id=_read(_PROC / "sys/kernel/random/boot_id"),
            pid_namespace=_link(_PROC / "self/ns/pid"),
            process_start=_start_of(os.getpid()),
        )

    def claim(self, epoch: int) -> WriterInfo:
        """See `Identity`."""
        return WriterInfo(
            id=self.id,
            host=self.host,
            pid=self.pid,
            boot_id=self.boot_id,
            pid_namespace=self.pid_namespace,
            process_start=self.process_start,
            epoch=epoch,
            heartbeat=0,
            released=False,
        )

    def is_alive(self, writer: WriterInfo) -> bool | None:
        """See `Identity`."""
        here = (self.host, self.boot_id, self.pid_namespace)
        if not (self.boot_id and self.pid_namespace) or here != (writer.host, writer.boot_id, writer.pid_namespace):
            return None
        start = _start_of(writer.pid)
        return start == writer.process_start if start else _is_hidden(writer.pid)


def _start_of(pid: int) -> str:
    """When a running process started, in ticks since boot; empty if there is none or it is a zombie."""
    stat = _read(_PROC / str(pid) / "stat")
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and parentheses
    return "" if not fields or fields[0] in "ZX" else fields[_START_TIME]


def _is_hidden(pid: int) -> bool | None:
    """None for a process that runs but that /proc does not show to us; False for none, and for a zombie."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return None
    except ProcessLookupError:
        pass
    return False


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
