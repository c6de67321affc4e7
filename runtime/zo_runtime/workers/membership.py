"""Which worker this process is, as the operator's pods are told: by the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zo_runtime.errors import InvalidSpec

WORKERS = "ZO_WORKERS"
RENDEZVOUS = "ZO_RENDEZVOUS"
WHEN_LOST = "ZO_WHEN_WORKER_LOST"
INDEX = "JOB_COMPLETION_INDEX"
"""Set by Kubernetes in the pods of an Indexed Job."""
_WAIT, _CONTINUE = "Wait", "Continue"


@dataclass(frozen=True, slots=True)
class Membership:
    """Worker `rank` of `size`; the leader, worker 0, is met at `host`:`port`. With `going_on` it does without those
    who are missing."""

    rank: int
    size: int
    host: str
    port: int
    going_on: bool = False


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
    when_lost = environment.get(WHEN_LOST, _WAIT)
    if when_lost not in (_WAIT, _CONTINUE):
        raise InvalidSpec(f"{WHEN_LOST}={when_lost}: must be {_WAIT} or {_CONTINUE}")
    return Membership(rank, size, host, int(port), when_lost == _CONTINUE)


def _number(environment: Mapping[str, str], name: str, default: str, least: int) -> int:
    given = environment.get(name, default)
    if not given.isdecimal() or int(given) < least:
        raise InvalidSpec(f"{name}={given}: must be a whole number from {least}")
    return int(given)
