"""Readers: all that is a record comes through unchanged, all that is none is told, and neither stops the rest."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.data.formats import READERS, Record
from zo_runtime.data.quarantine import Entry
from zo_runtime.errors import InvalidData


def read(kind: str, data: bytes | str, columns: Sequence[str] | None = None) -> list[Record | Entry]:
    return list(READERS[kind]("f", io.BytesIO(data.encode() if isinstance(data, str) else data), columns))


def summary(reads: list[Record | Entry]) -> list[tuple[str, object]]:
    return [(each.origin, each.values if isinstance(each, Record) else each.reason.value) for each in reads]


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
rows = st.lists(st.dictionaries(st.text(), scalars, max_size=4), max_size=10)


@given(rows)
def test_jsonl_gives_back_what_was_written(records: list[dict[str, object]]) -> None:
    for ascii_only in (True, False):
        text = "".join(json.dumps(record, ensure_ascii=ascii_only) + "\n" for record in records)
        found = read("jsonl", text.encode(errors="surrogatepass") if ascii_only else text.encode(errors="replace"))
        if ascii_only:
            assert [each.values for each in found if isinstance(each, Record)] == records
        assert len(found) == len(records)


def test_jsonl_quarantines_bad_lines_only() -> None:
    lines = [
        b'\xef\xbb\xbf{"a": 1}',
        b"",
        b'{"a": 2',
        b"[1]",
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "line\xe2\x80\xa8separator"}\r',
    ]
    assert summary(read("jsonl", b"\n".join(lines))) == [
        ("f:1", {"a": 1}),
        ("f:3", "bad JSON"),
        ("f:4", "bad JSON"),
        ("f:5", "not text"),
        ("f:6", "bad JSON"),
        ("f:7", "bad JSON"),
        ("f:8", {"a": "line\u2028separator"}),
    ]


def test_tsv_knows_no_quoting() -> None:
    text = 'a "quote\t1\nan "unclosed one\t0\r\n\n"whole"\t1'
    assert summary(read("tsv", text, ["sentence", "label"])) == [
        ("f:1", {"sentence": 'a "quote', "label": "1"}),
        ("f:2", {"sentence": 'an "unclosed one', "label": "0"}),
        ("f:4", {"sentence": '"whole"', "label": "1"}),
    ]


def test_tsv_takes_its_columns_from_the_first_line() -> None:
    text = "\ufeffsentence\tlabel\nx\t1\ny\nz\t1\t2\n"
    assert summary(read("tsv", text)) == [
        ("f:2", {"sentence": "x", "label": "1"}),
        ("f:3", "bad row"),
        ("f:4", "bad row"),
    ]


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=8)
)


@given(tables)
def test_csv_gives_back_what_was_written(table: list[list[str]]) -> None:
    if not table:
        return
    columns = [f"c{number}" for number in range(len(table[0]))]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([columns, *table])
    found = read("csv", text.getvalue())
    assert [each.values for each in found if isinstance(each, Record)] == [
        dict(zip(columns, row, strict=True)) for row in table
    ]


def test_csv_names_the_first_line_of_a_row() -> None:
    text = 'text,label\r\n"one\r\nand ""two""",1\r\nthree,0\r\n'
    assert summary(read("csv", text)) == [
        ("f:2", {"text": 'one\r\nand "two"', "label": "1"}),
        ("f:4", {"text": "three", "label": "0"}),
    ]


def test_a_stray_quote_costs_one_csv_line() -> None:
    text = 'text,label\n"stray,1\n' + "".join(f"row {number},0\n" for number in range(5000))
    found = read("csv", text)
    assert summary(found[:2]) == [("f:2", "bad row"), ("f:3", {"text": "row 0", "label": "0"})]
    assert len(found) == 5001
    assert all(isinstance(each, Record) for each in found[1:])
    text = 'text,label\n"stray,1\na,0\nb,"0"\n'
    assert summary(read("csv", text)) == [
        ("f:2", "bad row"),
        ("f:3", {"text": "a", "label": "0"}),
        ("f:4", {"text": "b", "label": "0"}),
    ]


def test_csv_quarantines_bad_rows_only() -> None:
    text = 'text,label\na,1\nb\n\n"c"d,1\ne,1,2\nf,0\n'
    assert summary(read("csv", text)) == [
        ("f:2", {"text": "a", "label": "1"}),
        ("f:3", "bad row"),
        ("f:5", "bad row"),
        ("f:6", "bad row"),
        ("f:7", {"text": "f", "label": "0"}),
    ]


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@pytest.mark.parametrize("header", ["a{}a", "a{}", "{}"])
def test_a_bad_header_is_refused(kind: str, header: str) -> None:
    line = header.format("," if kind == "csv" else "\t")
    with pytest.raises(InvalidData, match="does not name every column once"):
        read(kind, f"{line}\nx\n")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_bytes_that_are_no_text_do_not_stop_a_reader(kind: str) -> None:
    line = {"csv": b"\xff\xfe,1\n", "tsv": b"\xff\xfe\t1\n", "jsonl": b'{"a": "\xff", "b": 1}\n'}[kind]
    assert len(read(kind, line * 3, None if kind == "jsonl" else ["a", "b"])) == 3


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_an_empty_file_has_no_records(kind: str) -> None:
    assert read(kind, b"") == []


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=1000)
    return sink.getvalue()


def test_parquet_gives_back_what_was_written() -> None:
    rows = [{"text": f"row {number}", "label": number % 3 or None} for number in range(2500)]
    found = read("parquet", parquet(pa.Table.from_pylist(rows)))
    assert [each.values for each in found if isinstance(each, Record)] == rows
    assert (found[0].origin, found[-1].origin) == ("f:1", "f:2500")


@pytest.mark.parametrize("cut", [0, 3, 100, -1])
def test_a_broken_parquet_file_is_named(cut: int) -> None:
    data = parquet(pa.table({"text": ["a", "b"]}))
    with pytest.raises(InvalidData, match=r"^f: not a readable Parquet file"):
        read("parquet", data[:cut])
