"""What failed last for one model name, and when to try again."""

from __future__ import annotations

from datetime import UTC, datetime

from zo_runtime.errors import ZOError
from zo_runtime.serving.contract import Failure
from zo_runtime.serving.plan import pause_after


def failure(error: ZOError) -> Failure:
    """An error as the route tells it."""
    return Failure(reason=error.reason, message=str(error), at=datetime.now(UTC))


class Attempts:
    """Counts failures of one version in a row."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: another version is wanted, or the last attempt succeeded."""
        self.failed: str | None = None
        """Label of the version whose last attempt failed."""
        self.retry_at = 0.0
        self.error: Failure | None = None
        self._count = 0

    def fail(self, version: str, error: ZOError, now: float) -> None:
        """Note a failure, and put the next attempt off for longer than the last time."""
        self._count = self._count + 1 if version == self.failed else 1
        self.failed, self.error = version, failure(error)
        self.retry_at = now + pause_after(self._count)
