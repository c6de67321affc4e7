"""A delta log on a real model whose versions answer differently: made-up steps with large coefficients."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from zo_runtime.config.model import Model
from zo_runtime.deltalog.chain import load_link
from zo_runtime.deltalog.documents import ModelIdentity, RunInfo
from zo_runtime.deltalog.rows import StepRow
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.scoring.shapes import adapted_shapes, model_digest
from zo_runtime.serving.contract import Target
from zo_runtime.storage.protocol import ObjectStore
from zo_runtime.zo.bank import Bank
from zo_runtime.zo.estimator import round_coefficient
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
METHOD = Method(seed=20, interval=5, directions=1, epsilon=2.0**-10)


class ServingLog:
    """The writer of a log on the model in a folder; it goes on where the log ends.

    `strength` is what each step's direction is multiplied by.
    """

    def __init__(self, store: ObjectStore, model: Path, strength: float, name: str = "bench"):
        settings = Model(name=str(model), dtype="bfloat16")
        layout = BankLayout(adapted_shapes(settings, MODULES), rank=2, subspaces=4)
        identity = ModelIdentity(name=str(model), digest=model_digest(settings), dtype="bfloat16")
        run = RunInfo.build(name, identity, layout, METHOD, {}, datetime.now(UTC))
        self.store, self.bank = store, Bank(layout, METHOD)
        self._strength = strength
        self._writer = LogWriter.open(store, run, data_digest="none")
        self.bank.apply(self._writer.updates())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def publish(self, steps: int) -> Target:
        """Take some more steps and publish a version."""
        for step in range(self.bank.step + 1, self.bank.step + steps + 1):
            sign = 1 if (step * 2654435761 >> 16) % 2 else -1
            row = StepRow(step, (0.5,), (0.5,), (round_coefficient(sign * self._strength),), 1.0, 0, 0.1, 1)
            self.bank.apply([row.update()])
            self._writer.append(row)
        return self.target(self._writer.publish(None, 0, self.bank.digest()).number)

    def target(self, version: int, step: int | None = None) -> Target:
        """The target that pins a version."""
        return Target(version=version, sha256=load_link(self.store, version).sha256, step=step)
