"""The times of a cron expression in a time zone, as Debian's cron keeps them when clocks change: a time of day that
a change to summer time leaves out comes right after it, and one that comes twice is taken once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

# How many times are counted one by one.
COUNT_LIMIT = 100

_FIELDS = 5
# More than any change of clocks.
_CHANGE = timedelta(hours=3)
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@lru_cache(maxsize=1024)
def check_cron(expression: str) -> str:
    """The expression, if it is one and comes true at all.

    Raises:
        ValueError: a sentence with the value and the remedy.
    """
    remedy = "give five fields, minute hour day-of-month month day-of-week, such as `0 3 * * *`, or `@daily`"
    try:
        first = next(_times(expression, "Etc/UTC", datetime(2026, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        raise ValueError(f"`{expression}` is no cron expression ({error}): {remedy}") from None
    if first is None:
        raise ValueError(f"`{expression}` never comes true: {remedy}")
    return expression


def check_zone(name: str) -> str:
    """The name, if there is such a time zone.

    Raises:
        ValueError: a sentence with the value and the remedy.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        remedy = "give a name of the IANA time zone database, such as `Europe/Berlin` or `Etc/UTC`"
        raise ValueError(f"`{name}` is no time zone: {remedy}") from None
    return name


def next_time(expression: str, zone: str, after: datetime) -> datetime | None:
    """The first time after a moment, in UTC; none where there is none for fifty years."""
    return next((found for found in _times(expression, zone, after) if found > after), None)


def times(expression: str, zone: str, first: datetime, until: datetime) -> list[datetime]:
    """The times from `first`, which is one of them, to `until`; no more than `COUNT_LIMIT`."""
    later = (found for found in _times(expression, zone, first) if found > first)
    upto = takewhile(lambda found: found <= until, later)
    return [first, *islice(upto, COUNT_LIMIT - 1)]


def latest_time(expression: str, zone: str, first: datetime, until: datetime) -> datetime:
    """The last of those times, however many there are."""
    found = times(expression, zone, first, until)
    if len(found) < COUNT_LIMIT:
        return found[-1]
    # Reversed, cronsim walks the clock on the wall: what lies up to a change of it ahead may be past already.
    back = _times(expression, zone, until + _CHANGE, reverse=True)
    return next((time for time in back if time <= until), found[-1])


def _times(expression: str, zone: str, start: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    plain = _NAMED.get(expression.strip(), expression)
    if len(plain.split()) != _FIELDS:
        raise CronSimError(f"it has {len(plain.split())} fields")
    for found in CronSim(plain, start.astimezone(ZoneInfo(zone)), reverse=reverse):
        yield found.astimezone(UTC)
