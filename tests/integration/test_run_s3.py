"""Whole runs against a real S3 server: run, resume, verify, also with one request in five failing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from fakes.toy import ToyModel
from fakes.toy_manifest import manifest, write_manifest
from zo_runtime.config.load import load_document
from zo_runtime.config.storage import S3
from zo_runtime.deltalog.data_list import load_data_list
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.deltalog.verify import verify
from zo_runtime.errors import Interrupted, LogCorrupt
from zo_runtime.job import Job
from zo_runtime.rounds.probe import probe
from zo_runtime.storage.open import open_store

STEPS = 60


def run(folder: Path, document: dict[str, Any], stop_after: float = math.inf) -> str:
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > stop_after

    parsed, _ = load_document(write_manifest(folder, document))
    digest = Job(parsed, ToyModel(), stop).run().digest
    assert digest
    return digest


def on_s3(folder: Path, server: Any) -> dict[str, Any]:
    """The toy's manifest with its log, and its data, in a bucket."""
    document = manifest(folder, steps=STEPS)
    settings: S3 = server.settings
    s3 = settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    document["spec"]["storage"] |= {"uri": f"{server.uri}/run", "s3": s3}
    return document


@pytest.fixture
def local_digest(tmp_path: Path) -> str:
    (tmp_path / "local").mkdir()
    return run(tmp_path / "local", manifest(tmp_path / "local", steps=STEPS))


@pytest.mark.s3
@pytest.mark.parametrize("server", ["seaweed", "faulty_s3"])
def test_run_resume_and_verify(
    tmp_path: Path, local_digest: str, server: str, request: pytest.FixtureRequest
) -> None:
    s3 = request.getfixturevalue(server)
    document = on_s3(tmp_path, s3)
    with pytest.raises(Interrupted):
        run(tmp_path, document, stop_after=33)
    assert run(tmp_path, document) == local_digest
    reader = LogReader(open_store(document["spec"]["storage"]["uri"], s3.settings))
    report = verify(reader.store)
    assert report.problems == []
    assert reader.head().step == STEPS


@pytest.mark.s3
def test_one_flipped_bit_in_any_object_is_found(tmp_path: Path, seaweed: Any) -> None:
    document = on_s3(tmp_path, seaweed)
    with Path(document["spec"]["data"]["train"]["uri"]).open("a") as data:
        data.write('{"text": "good film", "label": 7}\n')  # for the quarantine
    run(tmp_path, document)
    store = open_store(document["spec"]["storage"]["uri"], seaweed.settings)
    kinds = {info.key.split("/")[0]: info.key for info in store.list()}
    assert kinds.keys() == {"run.json", "LATEST.json", "segments", "versions", "metrics", "quarantine"}
    for key in kinds.values():
        data, _ = store.get(key)
        for position in (0, len(data) // 3, len(data) - 1):
            flipped = bytearray(data)
            flipped[position] ^= 1 << (position % 8)
            store.put(key, bytes(flipped))
            try:
                problems = verify(store).problems
            except LogCorrupt as error:
                problems = [str(error)]
            assert any(key in problem for problem in problems), (key, position, problems)
        store.put(key, data)
    assert verify(store).problems == []


@pytest.mark.s3
@pytest.mark.parametrize("server", ["seaweed", "faulty_s3"])
def test_rounds_on_data_that_arrives_in_a_bucket(
    tmp_path: Path, server: str, seaweed: Any, request: pytest.FixtureRequest
) -> None:
    s3 = request.getfixturevalue(server)
    document = on_s3(tmp_path, s3)
    document["spec"]["data"] = {"train": {"uri": f"{s3.uri}/incoming"}, "heldOut": {"examples": 30}}
    document["spec"]["optimizer"]["steps"] = 10
    lines = (tmp_path / "messages.jsonl").read_text().splitlines(keepends=True)

    def put(name: str, first: int, last: int) -> None:
        body = "".join(lines[first:last]).encode()
        seaweed.client().put_object(Bucket=seaweed.bucket, Key=f"incoming/{name}", Body=body)

    learned = []
    for number, (name, first, last) in enumerate((("b", 0, 100), ("a", 100, 170), ("b", 0, 150)), 1):
        put(f"{name}.jsonl", first, last)
        run(tmp_path, {**document, "round": {"number": number}})
        reader = LogReader(open_store(document["spec"]["storage"]["uri"], s3.settings))
        version = reader.versions()[-1]
        data = load_data_list(reader.store, number, version.data_list or "")
        learned.append([(e.name.rsplit("/", 1)[1], e.first, e.last) for e in data.train])
        assert version.verdict is not None
    assert learned == [[("b.jsonl", 1, 100)], [("a.jsonl", 1, 70)], [("b.jsonl", 101, 150)]]
    assert verify(reader.store).problems == []
    parsed, _ = load_document(write_manifest(tmp_path, document))
    assert probe(parsed.spec).fresh.objects == 0
