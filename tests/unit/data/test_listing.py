"""A source as a set of objects: names as the data room calls them, etags that change with the content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zo_runtime.config.data import Source
from zo_runtime.config.storage import S3
from zo_runtime.data.listing import Gone, open_source
from zo_runtime.data.sources import open_files
from zo_runtime.errors import InvalidData


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/x.jsonl", "a.jsonl", "b/_SUCCESS", ".hidden/c.jsonl", "b/9.jsonl"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    return tmp_path / "data"


@pytest.mark.parametrize("pattern", ["", "/a.jsonl", "/*/*.jsonl", "/b"])
def test_names_are_those_of_the_data_room(folder: Path, pattern: str) -> None:
    uri = f"{folder}{pattern}"
    source = open_source(Source(uri=uri), S3(), "spec.data.train")
    listed = {item.name: item for item in source.list()}
    read = {name: file.read() for name, file in open_files(uri, S3(), "spec.data.train.uri")}
    assert listed.keys() == read.keys()
    for name, data in read.items():
        content, etag = source.read(name)
        assert (content, etag, len(content)) == (data, listed[name].etag, listed[name].size)


def test_a_file_that_is_written_again_has_another_etag(folder: Path) -> None:
    source = open_source(Source(uri=str(folder)), S3(), "spec.data.train")
    before = {item.name: item.etag for item in source.list()}
    path = folder / "a.jsonl"
    path.write_text("b.jsonl\n")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    after = {item.name: item.etag for item in source.list()}
    assert {name for name in before if before[name] != after[name]} == {path.as_posix()}


def test_nothing_there_is_no_error_but_a_wrong_path_is(tmp_path: Path) -> None:
    assert open_source(Source(uri=str(tmp_path)), S3(), "spec.data.train").list() == []
    assert open_source(Source(uri=f"{tmp_path}/*.jsonl"), S3(), "spec.data.train").list() == []
    with pytest.raises(InvalidData, match=r"spec.data.train.uri: '.*/none' is no file, folder or pattern"):
        open_source(Source(uri=f"{tmp_path}/none"), S3(), "spec.data.train").list()


def test_a_file_that_is_gone_is_told_apart(folder: Path) -> None:
    source = open_source(Source(uri=str(folder)), S3(), "spec.data.train")
    name = source.list()[0].name
    Path(name).unlink()
    with pytest.raises(Gone):
        source.read(name)
    assert name not in {item.name for item in source.list()}
