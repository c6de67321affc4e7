"""Groups over `torch.distributed` (gloo), formed again as often as workers are lost.

The leader holds a store at the rendezvous address. Every other worker leaves a fresh ticket there each time it wants
to join; when all tickets are new (or, if the run shall go on without missing ones, enough time has passed), the
leader names the group and everybody's place in it, and a process group of that name is made. vLLM uses the process's
default group itself, so these stand on their own.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from zo_runtime.errors import EngineFailed, Interrupted
from zo_runtime.workers.group import Alone, Floats, Group, WorkerLost

# How long a collective may take: as long as another worker may need for its share of an evaluation.
_COLLECTIVE = timedelta(minutes=30)
_CONNECT = timedelta(seconds=60)
_LOOK_SECONDS = 0.05


class GlooGroup:
    """`Group` on a gloo process group."""

    def __init__(self, store: dist.Store, rank: int, size: int):
        self.rank, self.size = rank, size
        try:
            self._gloo: Any = dist.ProcessGroupGloo(store, rank, size, _CONNECT)
            self._gloo._set_default_timeout(_COLLECTIVE)
        except RuntimeError as error:
            raise WorkerLost(_line(error)) from error

    def broadcast(self, values: Floats) -> Floats:
        """`Group.broadcast`."""
        tensor = torch.from_numpy(np.ascontiguousarray(values, np.float64).copy())
        self._wait(lambda: self._gloo.broadcast([tensor], dist.BroadcastOptions()))
        received: Floats = tensor.numpy()
        return received

    def gather(self, values: Floats) -> list[Floats]:
        """`Group.gather`."""
        mine = torch.from_numpy(np.ascontiguousarray(values, np.float64).copy())
        found = [torch.zeros_like(mine) for _ in range(self.size)]
        self._wait(lambda: self._gloo.allgather([found], [mine]))
        return [tensor.numpy() for tensor in found]

    def collect(self, values: Floats) -> list[Floats] | None:
        """`Group.collect`."""
        mine = torch.from_numpy(np.ascontiguousarray(values, np.float64).copy())
        found = [torch.zeros_like(mine) for _ in range(self.size if self.rank == 0 else 0)]
        self._wait(lambda: self._gloo.gather([found] if found else [], [mine], dist.GatherOptions()))
        return [tensor.numpy() for tensor in found] or None

    def close(self) -> None:
        """`Group.close`."""
        if self._gloo is not None:
            self._gloo.abort()
            self._gloo = None  # only its end closes the connections, by which the others are told

    def _wait(self, start: Callable[[], dist.Work]) -> None:
        try:
            start().wait()
        except RuntimeError as error:
            raise WorkerLost(_line(error)) from error


class LeaderRendezvous:
    """Worker 0's side. It listens as long as it lives.

    With `going_on` it does without those who do not come: it waits for all of the last group (at first for everybody)
    as many seconds as `patience` says (at first, later), and then takes whoever is there.
    """

    def __init__(
        self,
        port: int,
        size: int,
        stop_requested: Callable[[], bool],
        notify: Callable[[str], None],
        going_on: bool = False,
        patience: tuple[float, float] = (60.0, 5.0),
    ):
        try:
            self._store = dist.TCPStore("0.0.0.0", port, None, True, _CONNECT, wait_for_workers=False)  # noqa: S104
        except (RuntimeError, ValueError) as error:
            raise EngineFailed(f"the rendezvous port {port} cannot be listened on: {_line(error)}") from error
        self._stop_requested, self._notify = stop_requested, notify
        self._going_on, (self._patience, self._later) = going_on, patience
        self._followers = self._expected = frozenset(range(1, size))
        self._seen: dict[int, bytes] = {}

    def meet(self) -> Group:
        """Form a group of those who ask to join. Raise `Interrupted` on a request to stop."""
        tickets = self._await_tickets()
        self._seen |= tickets
        self._expected, self._patience = frozenset(tickets), self._later
        if not tickets:
            return Alone()
        name, size = f"group/{uuid.uuid4().hex}", len(tickets) + 1
        for place, rank in enumerate(sorted(tickets), 1):
            self._store.set(f"name/{rank}/{tickets[rank].decode()}", f"{name} {place} {size}")
        return GlooGroup(dist.PrefixStore(name, self._store), 0, size)

    def someone_waits(self) -> bool:
        """Whether a worker asks to join that is not in the last group."""
        return self._going_on and bool(self._fresh(self._followers - self._expected))

    def _await_tickets(self) -> dict[int, bytes]:
        """Fresh tickets of all followers, or of those who came while it was worth waiting."""
        began = asked = time.monotonic()
        while True:
            tickets, now = self._fresh(self._followers), time.monotonic()
            if len(tickets) == len(self._followers):
                return tickets
            if self._going_on and (self._expected <= tickets.keys() or now - began > self._patience):
                return tickets
            if self._stop_requested():
                raise Interrupted("stopped while waiting for workers; the same command goes on from the log")
            if now - asked > _CONNECT.total_seconds():
                asked = now
                missing = ", ".join(str(rank) for rank in sorted(self._followers - tickets.keys()))
                self._notify(f"waiting for workers {missing} of {len(self._followers) + 1}")
            time.sleep(_LOOK_SECONDS)

    def _fresh(self, ranks: frozenset[int]) -> dict[int, bytes]:
        """Tickets that no group was made of yet."""
        tickets: dict[int, bytes] = {}
        for rank in ranks:
            if self._store.check([f"ticket/{rank}"]):
                ticket = self._store.get(f"ticket/{rank}")
                if ticket != self._seen.get(rank):
                    tickets[rank] = ticket
        return tickets


class FollowerRendezvous:
    """The other workers' side."""

    def __init__(self, host: str, port: int, rank: int, size: int, notify: Callable[[str], None]):
        self._address, self._rank, self._size, self._notify = (host, port), rank, size, notify

    def meet(self) -> GlooGroup:
        """Wait for the leader, as long as it takes, and join its next group."""
        while True:
            try:
                store = dist.TCPStore(*self._address, None, False, _CONNECT, wait_for_workers=False)
                ticket = uuid.uuid4().hex
                store.set(f"ticket/{self._rank}", ticket)
                store.set_timeout(_COLLECTIVE)
                name, place, size = store.get(f"name/{self._rank}/{ticket}").decode().split()
                store.set_timeout(_CONNECT)
                return GlooGroup(dist.PrefixStore(name, store), int(place), int(size))
            except (RuntimeError, WorkerLost) as error:
                self._notify(f"waiting for the leader at {self._address[0]}:{self._address[1]}: {_line(error)}")
                time.sleep(1)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
