"""Where each object of a log lies: the one home of its keys."""

from __future__ import annotations

import re

RUN = "run.json"
LATEST = "LATEST.json"
REPORT = "metrics/report.html"
SEGMENTS = "segments/"
METRICS = "metrics/"
VERSIONS = "versions/"
QUARANTINE = "quarantine/"
DATA_LISTS = "data/"

_DATA_LIST = re.compile(r"data/[1-9]\d*\.json")
_QUARANTINE = re.compile(r"quarantine/[0-9a-f]{64}\.jsonl")
_RANGE = re.compile(r"(?:segments|metrics)/(\d{9,})-(\d{9,})\.parquet")


def segment_key(first: int, last: int) -> str:
    """Key of the segment that holds the steps `first`..`last`."""
    return f"{SEGMENTS}{first:09d}-{last:09d}.parquet"


def metrics_key(first: int, last: int) -> str:
    """Key of the metrics of the steps `first`..`last`."""
    return f"{METRICS}{first:09d}-{last:09d}.parquet"


def version_key(number: int) -> str:
    """Key of a published version."""
    return f"{VERSIONS}{number}.json"


def data_list_key(number: int) -> str:
    """Key of what a round learns from."""
    return f"{DATA_LISTS}{number}.json"


def quarantine_key(digest: str) -> str:
    """Key of the set-aside records whose bytes have that SHA-256."""
    return f"{QUARANTINE}{digest}.jsonl"


def is_log_object(key: str) -> bool:
    """Whether the key is of the log proper: not the report, not set-aside records, nothing foreign."""
    if key in (RUN, LATEST) or key.startswith(VERSIONS):
        return True
    return last_step_of(key) is not None or is_data_list(key)


def is_own_object(key: str) -> bool:
    """Whether the product itself writes such a key: the log proper, the report, set-aside records."""
    return is_log_object(key) or key == REPORT or _QUARANTINE.fullmatch(key) is not None


def is_data_list(key: str) -> bool:
    """Whether a round's data list has such a key. Others may keep data of their own under one."""
    return _DATA_LIST.fullmatch(key) is not None


def last_step_of(key: str) -> int | None:
    """The last step that a segment's or a metrics object's key names; None for any other key."""
    match = _RANGE.fullmatch(key)
    return None if match is None else int(match[2])
