"""A replay of all steps of a log, rejected rounds too."""

from __future__ import annotations

from dataclasses import replace

from zo_runtime.zo.bank import Bank
from zo_runtime.zo.method import Update


class Branches:
    """Replays a log's steps in their order, with a copy of the bank wherever a later round comes back to."""

    def __init__(self, bank: Bank, bases: dict[int, int], threads: int):
        """`bank` has no step yet. `bases` maps the first step of a version to the step that it continues from."""
        self.bank = bank
        self._bases, self._threads = bases, threads
        self._kept: dict[int, Bank] = {}
        self._keep(0)

    def apply(self, first: int, updates: list[Update]) -> bool:
        """Apply the steps of a segment that begins at `first`; false where the bank that they need is not there."""
        base = self._bases.get(first, first - 1)
        if base != self.bank.step:
            if base not in self._kept:
                return False
            self.bank = self._kept[base].copy()
        if base != first - 1:
            updates[0] = replace(updates[0], after=base)
        self.bank.apply(updates, self._threads)
        self._keep(first)
        return True

    def _keep(self, first: int) -> None:
        """Keep the bank as long as a step after `first` continues from it, and no older one that none does."""
        wanted = {base for step, base in self._bases.items() if step > first and base != step - 1}
        if self.bank.step in wanted:
            self._kept[self.bank.step] = self.bank.copy()
        self._kept = {step: bank for step, bank in self._kept.items() if step in wanted}
