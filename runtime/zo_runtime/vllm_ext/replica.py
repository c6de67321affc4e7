"""A rank's pieces of the bank on the device that scores: the same bits as `zo.bank.Bank`, as flat torch tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from zo_runtime.device.bank import DeviceBank
from zo_runtime.zo.background import Ahead
from zo_runtime.zo.bank import Bank, Floats
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.pieces import Piece


class Replica(Protocol):
    """Pieces of a bank, read as tensors on one device."""

    def apply(self, updates: Sequence[Update]) -> None:
        """Apply the next updates."""

    def subspace(self, k: int) -> torch.Tensor:
        """B_k of all pieces, flat, float32 [total]."""

    def direction(self, step: int, direction: int) -> torch.Tensor:
        """One direction's U of all pieces, flat, float32 [total]."""

    def basis(self, tensor: int, k: int) -> torch.Tensor:
        """A_k of one layer, float32 [r, in]."""

    def digest(self) -> str:
        """`Bank.digest` of the same state, of a replica that holds all pieces."""

    def shard(self) -> Bank:
        """The same pieces in host memory."""


class HostReplica:
    """On the CPU the bank itself serves, through views: its kernels are native already."""

    def __init__(self, layout: BankLayout, method: Method, pieces: Sequence[Piece], threads: int):
        self._bank, self._threads = Bank(layout, method, pieces), threads
        self._ahead = Ahead(self._draw, method.directions)

    def apply(self, updates: Sequence[Update]) -> None:
        drawn = self._ahead.kept(updates[0].step) if len(updates) == 1 else None
        if drawn is None:
            self._bank.apply(updates, self._threads)
        else:  # the step that was just scored: its directions are here
            self._bank.apply_drawn(updates[0], drawn)

    def subspace(self, k: int) -> torch.Tensor:
        return torch.from_numpy(self._bank.values[k])

    def direction(self, step: int, direction: int) -> torch.Tensor:
        return torch.from_numpy(self._ahead.take(step, direction))

    def _draw(self, step: int, direction: int) -> Floats:
        return self._bank.flat_direction(step, direction, self._threads)

    def basis(self, tensor: int, k: int) -> torch.Tensor:
        return torch.from_numpy(self._bank.basis(tensor, k))

    def digest(self) -> str:
        return self._bank.digest()

    def shard(self) -> Bank:
        return self._bank


def make_replica(layout: BankLayout, method: Method, pieces: Sequence[Piece], device: torch.device) -> Replica:
    """The replica for a worker's device."""
    if device.type == "cpu":
        return HostReplica(layout, method, pieces, threads=torch.get_num_threads())
    return DeviceBank(layout, method, device, pieces=pieces)
