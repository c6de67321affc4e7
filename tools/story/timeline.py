"""What happened, when, and how well the replicas answered meanwhile; printed as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["world", "operator", "result"]
_LATEST_SECONDS = 60.0
_TEXT_WIDTH = 160


@dataclass(frozen=True, slots=True)
class Entry:
    """One event: of the world that the story makes, the operator's own, or what the story concludes."""

    seconds: float
    kind: Kind
    text: str
    mark: str = ""
    """A few words for the picture, where it is to show the event."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Some requests to one replica, answered by one version; 0 is the base model."""

    seconds: float
    replica: str
    version: int
    right: int
    asked: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right / self.asked


class Timeline:
    """Events and samples in the order of their coming. `say` gets a line for each."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock, self._begin = say, clock, clock()
        self.entries: list[Entry] = []
        self.samples: list[Sample] = []

    @property
    def now(self) -> float:
        """Seconds since the story began."""
        return self._clock() - self._begin

    def tell(self, kind: Kind, text: str, mark: str = "") -> None:
        """Something has happened."""
        entry = Entry(self.now, kind, text, mark)
        self.entries.append(entry)
        self._say(line(entry, self.latest()))

    def measured(self, samples: Sequence[Sample]) -> None:
        """Requests were answered; told if another version answers than before."""
        before = self._versions()
        self.samples += samples
        if self._versions() != before:
            self._say(line(Entry(self.now, "result", "(measured)"), self.latest()))

    def latest(self) -> list[Sample]:
        """The newest sample of each replica, by name, if it is not too old."""
        newest = {sample.replica: sample for sample in self.samples}
        return [newest[name] for name in sorted(newest) if self.now - newest[name].seconds < _LATEST_SECONDS]

    def _versions(self) -> dict[str, int]:
        """The version that answered last, by replica."""
        return {sample.replica: sample.version for sample in self.samples}


def line(entry: Entry, latest: Sequence[Sample]) -> str:
    """One line: the time, what each replica serves and how often it is right, the event."""
    minutes, seconds = divmod(int(entry.seconds), 60)
    served = " ".join(version_name(sample.version) for sample in latest) or "-"
    accuracy = " ".join(f"{sample.accuracy:.0%}" for sample in latest) or "-"
    source = {"world": "*", "operator": " ", "result": "="}[entry.kind]
    text = entry.text if len(entry.text) <= _TEXT_WIDTH else f"{entry.text[: _TEXT_WIDTH - 3]}..."
    return f"{minutes:02d}:{seconds:02d}  {served:<11} {accuracy:<9} {source} {text}"


def version_name(version: int) -> str:
    """A version as the lines call it."""
    return f"v{version}" if version else "base"
