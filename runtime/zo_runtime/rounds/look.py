"""Looking at a data source: lists it, and reads what may be fresh."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile

from zo_runtime.config.data import Source
from zo_runtime.config.storage import S3
from zo_runtime.data.dataset import Records
from zo_runtime.data.formats import Read
from zo_runtime.data.listing import Gone, ObjectSource, open_source
from zo_runtime.data.records import read_file, read_records, require_columns
from zo_runtime.deltalog.documents import DataEntry, DataList
from zo_runtime.deltalog.fetch import in_order
from zo_runtime.errors import InvalidData
from zo_runtime.rounds.fresh import Content, Known, Look, Part, fresh_part, is_settled

Parse = Callable[[str, bytes], Iterator[Read]]
FlawOf = Callable[[Read], str | None]
"""Why a record cannot be used; None for one that can."""
# Objects that are fetched while the one before them is read.
_AHEAD = 4


def parser(source: Source, where: str) -> Parse:
    """From an object's name and bytes to its records. Raise `InvalidSpec` for columns that are named twice."""
    require_columns(source, where)
    return lambda name, data: read_file(source, name, io.BytesIO(data), where)


def assume_sound(_: Read) -> str | None:
    """The `FlawOf` of those who find out later."""
    return None


def look(objects: ObjectSource, known: Known, parse: Parse, flaw_of: FlawOf = assume_sound) -> Look:
    """What is fresh in a source, where `known` tells what was used of it. Only what is not settled is read.

    Raise `InvalidData` for an object that cannot be read as a whole, `StorageError`.
    """
    parts: list[Part] = []
    changed: list[str] = []
    listing = objects.list()
    to_read = [listed for listed in listing if not is_settled(listed, known)]
    for listed, found in zip(to_read, _read_ahead(objects, [listed.name for listed in to_read]), strict=True):
        if found is None:
            continue  # removed since; the next look tells
        entry = known.get(listed.name)
        content = _examine(listed.name, *found, entry, parse, flaw_of)
        if content.kept is None:
            changed.append(listed.name)
        elif (part := fresh_part(listed, entry, content)) is not None:
            parts.append(part)
    gone = len(known.keys() - {listed.name for listed in listing})
    return Look(tuple(parts), tuple(sorted(changed)), gone)


def _examine(name: str, data: bytes, etag: str, known: DataEntry | None, parse: Parse, flaw_of: FlawOf) -> Content:
    digest = hashlib.sha256(data).hexdigest()
    if known is not None and hashlib.sha256(data[: known.size]).hexdigest() != known.sha256:
        return Content(len(data), digest, etag, (), None)
    reads = list(parse(name, data))
    kept = 0
    if known is not None:
        kept = known.records if len(data) == known.size else _common(parse(name, data[: known.size]), iter(reads))
    return Content(len(data), digest, etag, [flaw_of(read) for read in reads], kept)


def _read_ahead(objects: ObjectSource, names: Sequence[str]) -> Iterator[tuple[bytes, str] | None]:
    """Content and etag of each object in turn; None for one that is gone."""

    def read(name: str) -> tuple[bytes, str] | None:
        try:
            return objects.read(name)
        except Gone:
            return None

    return in_order(read, names, _AHEAD)


def _common(old: Iterator[Read], new: Iterator[Read]) -> int:
    """How many records at the start are the same in both. By their text, in which NaN is the same as NaN."""
    return sum(1 for _ in takewhile(lambda pair: repr(pair[0]) == repr(pair[1]), zip(old, new, strict=False)))


def listed_records(data: DataList) -> Records:
    """Reads, of the sources that a round learns from and is judged by, just the records of its data list."""
    listed = {"spec.data.train": data.train, "spec.data.evaluation": data.evaluation}

    def records(source: Source, s3: S3, where: str) -> Iterator[Read]:
        entries = listed.get(where)
        if entries is None:
            return read_records(source, s3, where)
        return read_entries(open_source(source, s3, where), entries, parser(source, where), where)

    return records


def read_entries(objects: ObjectSource, entries: tuple[DataEntry, ...], parse: Parse, where: str) -> Iterator[Read]:
    """The records of a data list, in its order. An object may have grown since; any other change is refused.

    Raise `InvalidData` that names the first object that is gone or has changed.
    """
    for entry, found in zip(entries, _read_ahead(objects, [entry.name for entry in entries]), strict=True):
        if found is None:
            raise InvalidData(
                f"{where}.uri: {entry.name}, which this round learns from, is gone; bring it back, or let a new "
                "round begin without it"
            )
        data, _ = found
        if hashlib.sha256(data[: entry.size]).hexdigest() != entry.sha256:
            raise InvalidData(
                f"{where}.uri: {entry.name}, which this round learns from, has other content than when the round "
                "began; bring that back, or let a new round begin without it"
            )
        for number, read in enumerate(parse(entry.name, data[: entry.size]), 1):
            if entry.first <= number <= entry.last:
                yield read
