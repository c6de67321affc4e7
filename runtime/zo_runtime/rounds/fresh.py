"""What is fresh: the data that no concluded round has learned from or judged by. Pure.

Nothing goes by time or by the last name: an object that arrives late, whatever its name and date, is a new name. What
is known of an object is what the last concluded round that read it wrote down: how many bytes and which records it
had, and how far they were used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from zo_runtime.data.listing import Listed
from zo_runtime.deltalog.documents import DataEntry, DataList
from zo_runtime.rounds.contract import NAMES_LIMIT, Fresh

Known = Mapping[str, DataEntry]


@dataclass(frozen=True, slots=True)
class Content:
    """What reading an object found."""

    size: int
    sha256: str
    etag: str
    flaws: Sequence[str | None]
    """For each record why it cannot be used, or None, as far as that shows without a tokenizer."""
    kept: int | None
    """How many records at the start are those that the object's known bytes hold; None if these bytes changed."""


@dataclass(frozen=True, slots=True)
class Part:
    """The fresh records of one object: `entry.first`..`entry.last`."""

    entry: DataEntry
    modified: datetime
    bytes: int
    """About how many bytes they are."""
    flaws: Mapping[str, int]
    """How many of them cannot be used, by reason."""

    @property
    def records(self) -> int:
        """How many they are."""
        return self.entry.last - self.entry.first + 1

    @property
    def usable(self) -> int:
        """How many of them can be used."""
        return self.records - sum(self.flaws.values())


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a source at one moment."""

    parts: tuple[Part, ...] = ()
    changed: tuple[str, ...] = ()
    """Objects that were learned from and are other ones now, by name."""
    gone: int = 0
    """Objects that were learned from and are no longer there."""

    def flaws(self) -> dict[str, int]:
        """How many fresh records cannot be used, by reason, the most frequent first."""
        return dict(sum((Counter(part.flaws) for part in self.parts), Counter[str]()).most_common())

    def summary(self) -> Fresh:
        """The same in numbers."""
        return Fresh(
            objects=len(self.parts),
            records=sum(part.usable for part in self.parts),
            bytes=sum(part.bytes for part in self.parts),
            oldest=min((part.modified for part in self.parts), default=None),
            quarantined=sum(part.records - part.usable for part in self.parts),
            changed=self.changed[:NAMES_LIMIT],
            changed_count=len(self.changed),
            gone_count=self.gone,
        )


def consumed(lists: Iterable[DataList]) -> dict[str, DataEntry]:
    """What the concluded rounds, oldest first, know of each object: the newest entry of each name."""
    return {entry.name: entry for data in lists for entry in data.train}


def is_settled(listed: Listed, known: Known) -> bool:
    """Whether an object need not be read: it is as it was, and all of it was used."""
    entry = known.get(listed.name)
    if entry is None:
        return listed.size == 0
    return (entry.etag, entry.size) == (listed.etag, listed.size) and entry.last >= entry.records


def fresh_part(listed: Listed, known: DataEntry | None, content: Content) -> Part | None:
    """The fresh records of an object that was read; None if there are none. The object must not have changed.

    Records are counted as the format reads them. Where bytes were added in the middle of what had been the last
    record, that record has become another one, and is fresh.
    """
    records = len(content.flaws)
    first = 1 if known is None else min(known.last, content.kept or 0) + 1
    if first > records:
        return None
    flaws = Counter(flaw for flaw in content.flaws[first - 1 :] if flaw is not None)
    entry = DataEntry(
        name=listed.name,
        etag=content.etag,
        size=content.size,
        sha256=content.sha256,
        first=first,
        last=records,
        records=records,
    )
    return Part(entry, listed.modified, content.size * (records - first + 1) // records, flaws)


def take(parts: Iterable[Part], most: int) -> tuple[DataEntry, ...]:
    """At most so many records, those of the oldest objects first; the last object may be cut. Ordered by name."""
    taken: list[DataEntry] = []
    for part in sorted(parts, key=lambda part: (part.modified, part.entry.name)):
        count = min(part.records, most)
        if count:
            taken.append(part.entry.model_copy(update={"last": part.entry.first + count - 1}))
        most -= count
    return tuple(sorted(taken, key=lambda entry: entry.name))
