"""Where a replay computes: on this machine's cores, or on a device. The same bits either way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from zo_runtime.errors import InvalidSpec
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.method import Update

if TYPE_CHECKING:
    import torch


class Workbench(Protocol):
    """A bank at work. `finish` leaves the state in the bank that the workbench was made for."""

    @property
    def step(self) -> int:
        """The last step that was applied."""

    def apply(self, updates: Iterable[Update]) -> None:
        """Apply the next updates."""

    def digest(self) -> str:
        """Digest of the bank as it is now."""

    def finish(self) -> None:
        """Leave the state in the bank."""


class OnCores:
    """The bank itself, by any number of threads."""

    def __init__(self, bank: Bank, threads: int):
        self._bank, self._threads = bank, threads

    @property
    def step(self) -> int:
        return self._bank.step

    def apply(self, updates: Iterable[Update]) -> None:
        self._bank.apply(updates, self._threads)

    def digest(self) -> str:
        return self._bank.digest()

    def finish(self) -> None:
        """The bank has it already."""


class OnDevice:
    """A copy of the bank in a device's memory, and nothing else of its size there."""

    def __init__(self, bank: Bank, device: torch.device):
        from zo_runtime.device.bank import DeviceBank  # noqa: PLC0415 - needs torch, which a replay on cores does not

        self._bank = bank
        self._copy = DeviceBank(bank.layout, bank.method, device)
        self._copy.read_from(bank)

    @property
    def step(self) -> int:
        return self._copy.step

    def apply(self, updates: Iterable[Update]) -> None:
        self._copy.apply(updates)

    def digest(self) -> str:
        return self._copy.digest()

    def finish(self) -> None:
        self._copy.write_to(self._bank)


def open_workbench(bank: Bank, threads: int, device: str | None) -> Workbench:
    """A workbench for the bank. Raise `InvalidSpec` for a device that this machine does not have."""
    return OnCores(bank, threads) if device is None else OnDevice(bank, _torch_device(device))


def _torch_device(name: str) -> torch.device:
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", name):
        raise InvalidSpec(f"--device {name}: no such kind of device; give cpu, cuda or cuda:1")
    try:
        import torch  # noqa: PLC0415 - as above
    except ImportError:
        raise InvalidSpec(f"--device {name} needs PyTorch, which is not installed: leave the option out") from None
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidSpec(f"--device {name}: PyTorch finds no such GPU here: leave the option out, or choose another")
    return device
