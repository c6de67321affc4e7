"""The training loop's view of whoever watches it: one protocol, and a fan-out to many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from zo_runtime.progress import Phase
from zo_runtime.records import EvaluationRecord, FlushRecord, PublishRecord, StepRecord
from zo_runtime.rounds.contract import Verdict


class Observer(Protocol):
    """Told of each event right after it happened, on the loop's thread. It must be quick and must not raise."""

    def on_phase(self, phase: Phase) -> None:
        """The run entered a phase."""

    def on_step(self, record: StepRecord) -> None:
        """A step is finished; it is durable only after the next flush."""

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """The held-out data was scored."""

    def on_flush(self, record: FlushRecord) -> None:
        """Steps became durable."""

    def on_publish(self, record: PublishRecord) -> None:
        """A version was published."""

    def on_verdict(self, verdict: Verdict) -> None:
        """The gate judged the version that is about to be published, the round's last."""

    def on_quarantine(self, counts: Mapping[str, int]) -> None:
        """Records were set aside: how many more, by kind of reason (a few fixed kinds, not free text)."""

    def on_message(self, text: str) -> None:
        """One line that people should read."""


class Observers:
    """Passes each event to several observers, in their order: a tracker stands before those who read it."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def on_phase(self, phase: Phase) -> None:
        for observer in self._observers:
            observer.on_phase(phase)

    def on_step(self, record: StepRecord) -> None:
        for observer in self._observers:
            observer.on_step(record)

    def on_evaluation(self, record: EvaluationRecord) -> None:
        for observer in self._observers:
            observer.on_evaluation(record)

    def on_flush(self, record: FlushRecord) -> None:
        for observer in self._observers:
            observer.on_flush(record)

    def on_publish(self, record: PublishRecord) -> None:
        for observer in self._observers:
            observer.on_publish(record)

    def on_verdict(self, verdict: Verdict) -> None:
        for observer in self._observers:
            observer.on_verdict(verdict)

    def on_quarantine(self, counts: Mapping[str, int]) -> None:
        for observer in self._observers:
            observer.on_quarantine(counts)

    def on_message(self, text: str) -> None:
        for observer in self._observers:
            observer.on_message(text)
