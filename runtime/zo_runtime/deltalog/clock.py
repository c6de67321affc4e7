"""Time as the log uses it, so that tests can turn the hands."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A machine's own time. Nothing compares the clocks of two machines."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def now(self) -> datetime:
        """Date and time in UTC, for people to read."""


class SystemClock:
    """The clock of this machine."""

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        time.sleep(seconds)

    def now(self) -> datetime:
        """See `Clock`."""
        return datetime.now(UTC)
