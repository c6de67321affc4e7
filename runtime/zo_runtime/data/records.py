"""Records, named fields with a place of origin, from the files of one source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from zo_runtime.config.data import Source
from zo_runtime.config.storage import S3
from zo_runtime.data.formats import READERS, Read
from zo_runtime.data.sources import open_files
from zo_runtime.errors import InvalidData, InvalidSpec

_ENDINGS = {".jsonl": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}


def read_records(source: Source, s3: S3, where: str) -> Iterator[Read]:
    """Yield each record of the source, or the quarantine entry of a line that is none, in order.

    `where` is the document's field that describes the source, for messages: `spec.data.train`. Raise
    `InvalidData` if there is no such file or a file as a whole cannot be read.
    """
    require_columns(source, where)
    for name, file in open_files(source.uri, s3, f"{where}.uri"):
        yield from read_file(source, name, file, where)


def require_columns(source: Source, where: str) -> None:
    """Raise `InvalidSpec` where `columns` names one twice."""
    if source.columns is not None and len(set(source.columns)) < len(source.columns):
        raise InvalidSpec(f"{where}.columns: {source.columns} names a column twice; name each one once")


def read_file(source: Source, name: str, file: BinaryIO, where: str) -> Iterator[Read]:
    """The same for one file of the source."""
    kind = _format(source, name, where)
    if source.columns is not None and kind not in ("csv", "tsv"):
        raise InvalidSpec(f"{where}.columns: {name} is {kind}, which names its own fields; remove `columns`")
    yield from READERS[kind](name, file, source.columns)


def _format(source: Source, name: str, where: str) -> str:
    if source.format != "auto":
        return source.format
    ending = PurePosixPath(name).suffix.lower()
    if ending not in _ENDINGS:
        raise InvalidData(
            f"{where}.uri: the name {name} does not tell its format; set {where}.format, or choose the data files by "
            "a pattern or a folder of their own"
        )
    return _ENDINGS[ending]
