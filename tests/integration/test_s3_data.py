"""Data sources in S3: the same examples as from a folder, also while requests fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fixtures.faulty import FaultyProxy
from fixtures.seaweed import S3Service
from fixtures.words import WordTokenizer
from zo_runtime.config.data import Data, Source
from zo_runtime.config.objective import Objective
from zo_runtime.config.storage import S3
from zo_runtime.data.dataset import Dataset, load_dataset
from zo_runtime.data.listing import Gone, open_source
from zo_runtime.data.sources import open_files
from zo_runtime.errors import InvalidData, StorageDenied

pytestmark = pytest.mark.s3

OBJECTIVE = Objective.model_validate(
    {"classification": {"prompt": "{text} It was", "labels": {"0": " bad", "1": " good"}}}
)


def load(uri: str, s3: S3) -> Dataset:
    data = Data.model_validate({"train": {"uri": uri}})
    return load_dataset(data, OBJECTIVE, WordTokenizer([" It", " was"]), 64, s3)


def put(service: S3Service, key: str, data: bytes) -> None:
    service.client().put_object(Bucket=service.bucket, Key=key, Body=data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("b/x.csv", "b-y.csv", "a.csv", "b/_SUCCESS", "b/10.csv", "b/9.csv")):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"text {number}-{line},{line % 2}\n" for line in range(40)]
        path.write_text("text,label\n" + "".join(lines))
    return tmp_path / "data"


def upload(service: S3Service, folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            put(service, f"data/{path.relative_to(folder).as_posix()}", path.read_bytes())
    put(service, "data-of-others/c.csv", b"rubbish")


def test_a_prefix_reads_like_a_folder(seaweed: S3Service, folder: Path) -> None:
    upload(seaweed, folder)
    there = load(f"{seaweed.uri}/data", seaweed.settings)
    assert there.digest == load(str(folder), S3()).digest
    assert len(there.train) + len(there.held_out) == 200


def test_a_prefix_reads_the_same_through_faults(
    seaweed: S3Service, faulty_s3: S3Service, faulty_proxy: FaultyProxy, folder: Path
) -> None:
    upload(seaweed, folder)
    faulty_proxy.rate = 0.4
    assert load(f"{faulty_s3.uri}/data/", faulty_s3.settings).digest == load(str(folder), S3()).digest
    assert faulty_proxy.counts.total() > faulty_proxy.counts["served"]


def test_one_object_and_the_place_of_its_bad_records(seaweed: S3Service) -> None:
    put(seaweed, "one/train.csv", b"text,label\n" + b"".join(b"a %d,1\n" % n for n in range(60)) + b"c,7\n")
    dataset = load(f"{seaweed.uri}/one/train.csv", seaweed.settings)
    assert [entry.origin for entry in dataset.quarantine.entries] == [f"{seaweed.uri}/one/train.csv:62"]


def test_nothing_there(seaweed: S3Service) -> None:
    for uri in (f"{seaweed.uri}/missing.csv", seaweed.uri):
        with pytest.raises(InvalidData, match=r"^spec\.data\.train\.uri: there is no object"):
            load(uri, seaweed.settings)
    with pytest.raises(StorageDenied, match="there is no such bucket"):
        load("s3://no-such-bucket/data", seaweed.settings)


def test_a_listing_names_what_the_data_room_reads_and_when_it_was_written(seaweed: S3Service, folder: Path) -> None:
    upload(seaweed, folder)
    for uri in (f"{seaweed.uri}/data", f"{seaweed.uri}/data/", f"{seaweed.uri}/data/a.csv"):
        source = open_source(Source(uri=uri), seaweed.settings, "spec.data.train")
        listed = {item.name: item for item in source.list()}
        read = {name: file.read() for name, file in open_files(uri, seaweed.settings, "spec.data.train.uri")}
        assert listed.keys() == read.keys()
        for name, data in read.items():
            content, etag = source.read(name)
            assert (content, etag, len(content)) == (data, listed[name].etag, listed[name].size)
            assert abs(datetime.now(UTC) - listed[name].modified) < timedelta(hours=1)
    assert open_source(Source(uri=f"{seaweed.uri}/nothing"), seaweed.settings, "spec.data.train").list() == []
    with pytest.raises(Gone):
        source.read(f"{seaweed.uri}/data/none.csv")
