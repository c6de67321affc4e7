"""Cron expressions in time zones: nothing comes twice, nothing is left out, whatever the clocks do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_operator.cron import COUNT_LIMIT, check_cron, check_zone, latest_time, next_time, times

ZONES = ("Etc/UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Asia/Kolkata")
CRONS = (
    "* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "30 1 * * *", "0 0 * * *", "15 0,12 * * 1-5", "0 3 1 * *",
    "0 0 * * 0#1", "5 4 L * *", "@daily", "@hourly", "0 0 29 2 *",
)  # fmt: skip
moments = st.datetimes(datetime(2024, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC))
expressions, zones = st.sampled_from(CRONS), st.sampled_from(ZONES)


@given(expressions, zones, moments, st.timedeltas(timedelta(0), timedelta(days=3)))
def test_the_next_time_is_one_function_of_time(cron, zone, moment, later):
    """Planned at any moment, the next time is the same until it has come."""
    found = next_time(cron, zone, moment)
    assert found is not None
    assert found > moment
    after = next_time(cron, zone, moment + later)
    assert after is not None
    assert after >= found
    if moment + later < found:
        assert after == found


@given(expressions, zones, moments, st.timedeltas(timedelta(0), timedelta(days=3)))
def test_the_latest_time_is_the_last_of_all(cron, zone, moment, later):
    first = next_time(cron, zone, moment)
    until = first + later
    found, last = times(cron, zone, first, until), latest_time(cron, zone, first, until)
    assert found == sorted(set(found))
    assert found[0] == first
    assert first <= found[-1] <= last <= until
    if len(found) < COUNT_LIMIT:
        assert found[-1] == last
    following = next_time(cron, zone, last)
    assert following > until


def in_zone(zone, *fields):
    return datetime(*fields, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def test_a_time_that_summer_time_leaves_out_comes_right_after_it():
    before = in_zone("Europe/Berlin", 2026, 3, 29, 1, 0)
    assert next_time("30 2 * * *", "Europe/Berlin", before) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    again = next_time("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 29, 1, 0, tzinfo=UTC))
    assert again == in_zone("Europe/Berlin", 2026, 3, 30, 2, 30)


def test_a_time_that_comes_twice_is_taken_once():
    first = next_time("30 1 * * *", "America/New_York", datetime(2026, 11, 1, 4, 0, tzinfo=UTC))
    assert first == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    # 01:10 for the second time: 01:30 has been.
    second = next_time("30 1 * * *", "America/New_York", datetime(2026, 11, 1, 6, 10, tzinfo=UTC))
    assert second == in_zone("America/New_York", 2026, 11, 2, 1, 30)
    hours = times("0 * * * *", "America/New_York", datetime(2026, 11, 1, 4, tzinfo=UTC), first + timedelta(hours=2))
    assert len(hours) == 4, "every hour is every hour, on the wall or not"


def test_many_missed_times_cost_little():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    last = latest_time("* * * * *", "Europe/Berlin", start, start + timedelta(days=300, seconds=30))
    assert last == start + timedelta(days=300)


@pytest.mark.parametrize(
    "cron", ["", "every day", "61 * * * *", "* * * *", "* * * * * *", "0 0 30 2 *", "TZ=UTC 0 3 * * *", "@reboot"]
)
def test_what_is_no_expression_is_told_with_its_remedy(cron):
    with pytest.raises(ValueError, match=r"give five fields.*0 3 \* \* \*") as error:
        check_cron(cron)
    assert f"`{cron}`" in str(error.value)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "Europe", "a\0b", "UTC+25"])
def test_what_is_no_zone_is_told_with_its_remedy(zone):
    with pytest.raises(ValueError, match="Europe/Berlin"):
        check_zone(zone)


def test_what_is_right_is_taken_as_it_is():
    assert check_cron("0 3 * * 1-5") == "0 3 * * 1-5"
    assert check_zone("America/New_York") == "America/New_York"
