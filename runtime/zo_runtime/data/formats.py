"""One reader for each file format. A line that is no record becomes a quarantine entry, never a crash."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from zo_runtime.data.quarantine import Entry, Reason, Unfit
from zo_runtime.errors import InvalidData


@dataclass(frozen=True, slots=True)
class Record:
    """Named values from one line or row; `origin` is `file:line`, or `file:row` for Parquet, from 1."""

    origin: str
    values: dict[str, object]


Read = Record | Entry
Reader = Callable[[str, BinaryIO, Sequence[str] | None], Iterator[Read]]


def read_jsonl(name: str, file: BinaryIO, columns: Sequence[str] | None) -> Iterator[Read]:
    """One JSON object a line, in UTF-8; blank lines are skipped. `columns` has no meaning here."""
    for number, line in enumerate(_without_mark(file), 1):
        if not line.strip():
            continue
        origin = f"{name}:{number}"
        try:
            yield Record(origin, _json_object(line))
        except Unfit as unfit:
            yield Entry.of(origin, unfit, {"line": line.decode(errors="replace").rstrip("\r\n")})


def _json_object(line: bytes) -> dict[str, object]:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise Unfit(Reason.NOT_TEXT, f"byte {error.start + 1} is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise Unfit(Reason.BAD_JSON, f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Unfit(Reason.BAD_JSON, "the line holds no JSON object")
    return value


def read_tsv(name: str, file: BinaryIO, columns: Sequence[str] | None) -> Iterator[Read]:
    """Cells between tabs, with no quoting: a quotation mark is text. The first line names the columns unless
    `columns` does."""
    for number, raw in enumerate(_without_mark(file), 1):
        line = raw.rstrip(b"\r\n").decode(errors="surrogateescape")
        if columns is None:
            columns = _header(line.split("\t"), name)
        elif line:
            yield _row(f"{name}:{number}", line.split("\t"), columns)


def read_csv(name: str, file: BinaryIO, columns: Sequence[str] | None) -> Iterator[Read]:
    """Cells between commas; `"` quotes cells that hold commas, quotes (doubled) or line ends (RFC 4180)."""
    with io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as text:
        yield from _csv_rows(name, _Rewindable(text), columns)


def _csv_rows(name: str, lines: _Rewindable, columns: Sequence[str] | None) -> Iterator[Read]:
    rows = csv.reader(lines, strict=True)
    while True:
        first = lines.start_row()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raw = lines.give_back()
            yield Entry.of(f"{name}:{first}", Unfit(Reason.BAD_ROW, f"not CSV: {error}"), {"line": raw})
            continue
        if columns is None:
            columns = _header(cells, name)
        elif cells:
            read = _row(f"{name}:{first}", cells, columns)
            if isinstance(read, Entry):
                lines.give_back()
            yield read


class _Rewindable:
    """Lines of which a bad row gives back all but its first: a stray quotation mark costs one line, not all
    the lines up to the next one."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file
        self._returned: list[str] = []
        self._row: list[str] = []
        self._number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._returned.pop() if self._returned else next(self._file)
        self._row.append(line)
        return line

    def start_row(self) -> int:
        """Begin a new row and return the number of its first line, from 1."""
        self._number += len(self._row)
        self._row.clear()
        return self._number + 1

    def give_back(self) -> str:
        """Let all lines of the row but the first be read again; return the first."""
        first, *others = self._row
        self._returned.extend(reversed(others))
        self._row[1:] = []
        return first.rstrip("\r\n")


def read_parquet(name: str, file: BinaryIO, columns: Sequence[str] | None) -> Iterator[Read]:
    """One record a row. `columns` has no meaning here."""
    import pyarrow  # noqa: PLC0415 - takes long to import, and text files do not need it
    import pyarrow.parquet  # noqa: PLC0415

    try:
        batches = pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=1024)
        rows = chain.from_iterable(batch.to_pylist() for batch in batches)
        for number, values in enumerate(rows, 1):
            yield Record(f"{name}:{number}", values)
    except (pyarrow.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise InvalidData(f"{name}: not a readable Parquet file ({first}); write it again") from None


READERS: dict[str, Reader] = {"jsonl": read_jsonl, "csv": read_csv, "tsv": read_tsv, "parquet": read_parquet}


def _without_mark(file: BinaryIO) -> Iterator[bytes]:
    """The file's lines, without the byte order mark that some editors put first."""
    for number, line in enumerate(file):
        yield line.removeprefix(codecs.BOM_UTF8) if number == 0 else line


def _header(cells: list[str], name: str) -> list[str]:
    if "" in cells or len(set(cells)) < len(cells):
        raise InvalidData(
            f"{name}: the first line does not name every column once: {', '.join(map(repr, cells[:20]))}; correct "
            "it, or give the names in `columns` if there is no header"
        )
    return cells


def _row(origin: str, cells: list[str], columns: Sequence[str]) -> Read:
    if len(cells) != len(columns):
        unfit = Unfit(Reason.BAD_ROW, f"{len(cells)} cells where {len(columns)} columns are named")
        return Entry.of(origin, unfit, {str(number): cell for number, cell in enumerate(cells, 1)})
    return Record(origin, dict(zip(columns, cells, strict=True)))
