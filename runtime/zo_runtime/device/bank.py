"""The bank in device memory: the same bits as `zo.bank.Bank`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from zo_runtime.device.draws import MakeDraws, make_draws
from zo_runtime.zo.bank import Bank, runs_of_one_subspace
from zo_runtime.zo.directions import BASIS
from zo_runtime.zo.layout import BankLayout, subspace_of
from zo_runtime.zo.method import Method, Update
from zo_runtime.zo.pieces import Piece, all_bases, all_factors, total


class DeviceBank:
    """Pieces of every B_k, all of them unless others are named, as one float32 tensor [K, total] on a device, with
    the momentum if any."""

    def __init__(
        self,
        layout: BankLayout,
        method: Method,
        device: torch.device,
        make: MakeDraws = make_draws,
        pieces: Sequence[Piece] | None = None,
    ):
        self._pieces = tuple(all_factors(layout) if pieces is None else pieces)
        shape = (layout.subspaces, total(self._pieces))
        self._layout, self._method, self._device, self._make = layout, method, device, make
        self.step = 0
        self._values = torch.zeros(shape, device=device)
        self._momentum = None if method.momentum is None else torch.zeros(shape, device=device)
        self._draws = make(self._pieces, device)
        self._bases: tuple[int, tuple[torch.Tensor, ...]] | None = None

    def apply(self, updates: Iterable[Update]) -> None:
        """Apply the next updates in order. Those of one subspace go out together: its numbers are read and written
        once for all of them."""
        for run in runs_of_one_subspace(updates, self.step, self._method.interval, self._method.directions):
            k = subspace_of(run[0].step, self._method.interval, self._layout.subspaces)
            momentum = None if self._momentum is None else self._momentum[k]
            self._draws.apply(self._values[k], momentum, run, self._method)
            self.step = run[-1].step

    def subspace(self, k: int) -> torch.Tensor:
        """B_k of all pieces, flat."""
        return self._values[k]

    def direction(self, step: int, direction: int) -> torch.Tensor:
        """One direction's U of all pieces, flat."""
        return self._draws.draw(self._method, step, direction)

    def basis(self, tensor: int, k: int) -> torch.Tensor:
        """A_k of one layer. Those of all layers are drawn at once, for whoever asks for one asks for all."""
        if self._bases is None or self._bases[0] != k:
            rank = self._layout.rank
            flat = self._make(all_bases(self._layout), self._device).draw(self._method, k, BASIS)
            parts = flat.split([rank * t.in_features for t in self._layout.tensors])
            self._bases = k, tuple(part.view(rank, -1) for part in parts)
        return self._bases[1][tensor]

    def shard(self) -> Bank:
        """The same pieces in host memory."""
        bank = Bank(self._layout, self._method, self._pieces)
        self.write_to(bank)
        return bank

    def digest(self) -> str:
        """`Bank.digest` of the same state, of one that holds all pieces."""
        sha = hashlib.sha256(self._layout.digest_header(self.step))
        for array in (self._values, self._momentum):
            for row in () if array is None else array:  # one subspace at a time in host memory
                sha.update(row.cpu().numpy().astype("<f4", copy=False).tobytes())
        return sha.hexdigest()

    def read_from(self, bank: Bank) -> None:
        """Take over the state of a bank in host memory."""
        self.step = bank.step
        for mine, theirs in self._arrays(bank):
            mine.copy_(torch.from_numpy(theirs))

    def write_to(self, bank: Bank) -> None:
        """Leave the state in a bank in host memory."""
        bank.step = self.step
        for mine, theirs in self._arrays(bank):
            torch.from_numpy(theirs).copy_(mine)

    def _arrays(self, bank: Bank) -> list[tuple[torch.Tensor, npt.NDArray[np.float32]]]:
        pairs = [(self._values, bank.values)]
        if self._momentum is not None and bank.momentum is not None:
            pairs.append((self._momentum, bank.momentum))
        return pairs
