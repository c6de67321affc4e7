"""Which worker this process is, as the operator's pods are told: by the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zo_runtime.errors import InvalidSpec

WORKERS = "ZO_WORKERS"
RENDEZVOUS = "ZO_RENDEZVOUS"
INDEX = "JOB_COMPLETION_INDEX"
"""Set by Kubernetes in the pods of an Indexed Job."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Worker `rank` of `size`; the leader, worker 0, is met at `host`:`port`."""

    rank: int
    size: int
    host: str
    port: int


def membership(environment: Mapping[str, str]) -> Membership | None:
    """Read this worker's place; None where it works alone. Raise `InvalidSpec` naming the variable."""
    size = _number(environment, WORKERS, "1", least=1)
    if size == 1:
        return None
    rank = _number(environment, INDEX, "", least=0)
    if rank >= size:
        raise InvalidSpec(f"{INDEX}={rank}: there are {size} workers, so it must be below {size}")
    host, _, port = environment.get(RENDEZVOUS, "").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        given = environment.get(RENDEZVOUS, "")
        raise InvalidSpec(f"{RENDEZVOUS}={given}: several workers need HOST:PORT, where worker 0 can be reached")
    return Membership(rank, size, host, int(port))


def _number(environment: Mapping[str, str], name: str, default: str, least: int) -> int:
    given = environment.get(name, default)
    if not given.isdecimal() or int(given) < least:
        raise InvalidSpec(f"{name}={given}: must be a whole number from {least}")
    return int(given)
