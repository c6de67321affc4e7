"""Records that cannot be used: why, which, how many, and when there are too many."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from zo_runtime.errors import InvalidData

_LONGEST_VALUE = 200
_MOST_FIELDS = 50


class Reason(StrEnum):
    """Why a record cannot be used."""

    BAD_JSON = "bad JSON"
    BAD_ROW = "bad row"
    MISSING_FIELD = "missing field"
    UNKNOWN_LABEL = "unknown label"
    EMPTY_TEXT = "empty text"
    NOT_TEXT = "not text"
    TOO_LONG = "too long"


class Unfit(Exception):
    """Raised where a record turns out to be unusable; caught where records are counted."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Entry:
    """One record in quarantine: its file and line, the reason, and its fields, values cut to 200 characters."""

    origin: str
    reason: Reason
    detail: str
    record: dict[str, str]

    @classmethod
    def of(cls, origin: str, unfit: Unfit, values: Mapping[str, object]) -> Entry:
        """Keep what a reader needs to find and understand the record."""
        kept = {shorten(name): shorten(value) for name, value in list(values.items())[:_MOST_FIELDS]}
        return cls(origin, unfit.reason, unfit.detail, kept)


@dataclass(slots=True)
class Quarantine:
    """The unusable records of one or more sources, in the order they were met."""

    entries: list[Entry] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Number of records by reason, the most frequent first."""
        return {
            reason.value: count for reason, count in Counter(entry.reason for entry in self.entries).most_common()
        }

    def require_at_most(self, max_fraction: float, accepted: int, where: str) -> None:
        """Raise `InvalidData` if more than that share of all records is here.

        `accepted` is the number of records that fit, `where` the field of the document that names the source.
        """
        bad, total = len(self.entries), len(self.entries) + accepted
        if bad <= max_fraction * total:
            return
        counts = self.counts
        most = next(iter(counts))
        example = next(entry for entry in self.entries if entry.reason == most)
        listed = ", ".join(f"{reason} {count}" for reason, count in counts.items())
        raise InvalidData(
            f"{where}: {bad} of {total} records cannot be used ({listed}), more than the share {max_fraction:g} that "
            f"spec.data.quarantine.maxFraction allows; most often {most}, for example {example.origin}: "
            f"{example.detail}; correct the records or the objective"
        )

    def to_json_lines(self) -> bytes:
        """One JSON object a record: origin, reason, detail and the record's fields."""
        lines = (
            {"origin": entry.origin, "reason": entry.reason.value, "detail": entry.detail, "record": entry.record}
            for entry in self.entries
        )
        return "".join(json.dumps(line) + "\n" for line in lines).encode()


def shorten(value: object) -> str:
    """A value as text of at most 200 characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
