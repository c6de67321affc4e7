"""What is written is read back: rows, versions, metrics, ranges; and what the objects look like."""

from __future__ import annotations

import hashlib
import json

import pytest

from fixtures.logs import DATA, LEASE, METHOD, FakeProcess, Trainer, make_row, run_info
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.deltalog.verify import verify
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import InvalidSpec, LogMismatch
from zo_runtime.storage.memory import MemoryStore


def open_log(store: MemoryStore, name: str = "w", data: str = DATA) -> LogWriter:
    return LogWriter.open(store, run_info(), data_digest=data, who=FakeProcess(name), lease_seconds=LEASE)


def trained(steps: int = 25) -> MemoryStore:
    store = MemoryStore()
    with open_log(store) as writer:
        Trainer(writer).train(steps)
    return store


def test_rows_come_back_as_they_were_appended() -> None:
    reader = LogReader(trained())
    assert [row.step for row in reader.rows()] == list(range(1, 26))
    for row in reader.rows(7, 19):
        wanted = make_row(row.step)
        assert row.update() == wanted.update()
        assert (row.loss_plus, row.loss_minus, row.cursor) == (wanted.loss_plus, wanted.loss_minus, wanted.cursor)


def test_updates_are_those_of_the_asked_range() -> None:
    reader = LogReader(trained())
    assert [u.step for u in reader.updates(9, 12)] == [9, 10, 11, 12]
    assert [u.step for u in reader.updates(25)] == [25]
    assert list(reader.updates(26)) == []


def test_metrics_join_losses_with_times() -> None:
    metrics = list(LogReader(trained()).metrics(11, 13))
    for found in metrics:
        row = make_row(found.step)
        assert found.loss == row.loss()
        assert found.gradient == sum(row.gradients(METHOD.epsilon)) / 2
        assert (found.step_seconds, found.tokens) == (row.step_seconds, row.tokens)
    assert [m.step for m in metrics] == [11, 12, 13]


def test_versions_chain_and_own_their_segments() -> None:
    store = trained()
    versions = LogReader(store).versions()
    assert [(v.number, v.first_step, v.last_step) for v in versions] == [(1, 1, 10), (2, 11, 20), (3, 21, 25)]
    assert [ref.key for v in versions for ref in v.segments] == [
        "segments/000000001-000000010.parquet",
        "segments/000000011-000000020.parquet",
        "segments/000000021-000000025.parquet",
    ]
    assert {info.key.split("/")[0] for info in store.list()} == {
        "run.json", "LATEST.json", "segments", "versions", "metrics"
    }  # fmt: skip
    assert len(list(store.list("segments/"))) == 3, "no replaced segment is left"


def test_a_version_is_pinned_by_the_hash_of_its_object() -> None:
    store = MemoryStore()
    with open_log(store) as writer:
        assert writer.version_sha256 is None
        Trainer(writer).train(25)
        data, _ = store.get(f"versions/{writer.versions[-1].number}.json")
        assert writer.version_sha256 == hashlib.sha256(data).hexdigest()


def test_total_bytes_is_what_the_store_holds() -> None:
    store = MemoryStore()
    with open_log(store) as writer:
        trainer = Trainer(writer)
        trainer.train(7)
        writer.append(make_row(8))
        trainer.bank.apply([make_row(8).update()])
        info = writer.flush(trainer.bank.digest())
        assert info.step == 8
        assert info.total_bytes == writer.total_bytes == sum(i.size for i in store.list())
        assert 0 < info.bytes < info.total_bytes


def test_flush_of_nothing_writes_nothing() -> None:
    store = MemoryStore()
    with open_log(store) as writer:
        Trainer(writer).train(5)
        before = {i.key: i.etag for i in store.list()}
        assert writer.flush("0" * 64).bytes == 0
        assert {i.key: i.etag for i in store.list()} == before


def test_a_segment_is_complete_at_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zo_runtime.deltalog.writer.SEGMENT_STEPS", 6)
    store = MemoryStore()
    with open_log(store) as writer:
        Trainer(writer).train(29, flush_every=4, publish_every=1000)
    keys = [i.key[9:28] for i in store.list("segments/")]
    assert keys == [f"{a:09d}-{b:09d}" for a, b in [(1, 6), (7, 12), (13, 18), (19, 24), (25, 29)]]
    assert verify(store).problems == []


def test_a_version_without_new_steps_is_allowed() -> None:
    store = MemoryStore()
    with open_log(store) as writer:
        trainer = Trainer(writer)
        trainer.publish()
        trainer.train(3)
        trainer.publish()
    assert [(v.first_step, v.last_step) for v in LogReader(store).versions()] == [(1, 0), (1, 3), (4, 3)]
    assert verify(store).problems == []


def test_reader_sees_later_versions_without_reading_old_ones_again() -> None:
    store = MemoryStore()
    reads: list[str] = []
    with open_log(store) as writer:
        trainer = Trainer(writer)
        trainer.train(10)
        reader = LogReader(store)
        assert len(reader.versions()) == 1
        trainer.train(20)
        get = store.get
        store.get = lambda key: (reads.append(key), get(key))[1]  # type: ignore[method-assign]
        assert len(reader.versions()) == 2
        assert reads == ["LATEST.json", "versions/2.json"]


@pytest.mark.parametrize("step", [-1, 26])
def test_a_step_that_is_not_there_is_named(step: int) -> None:
    with pytest.raises(InvalidSpec, match=f"no step {step}; it has the steps 1 to 25"):
        list(LogReader(trained()).updates(1, step))


def test_a_version_that_is_not_there_is_named() -> None:
    reader = LogReader(trained())
    assert reader.version(3).last_step == 25
    with pytest.raises(InvalidSpec, match="no version 4; it has the versions 1 to 3"):
        reader.version(4)


def test_no_log_is_one_sentence() -> None:
    with pytest.raises(InvalidSpec, match="there is no delta log at memory:; check the URI"):
        LogReader(MemoryStore()).head()


def test_json_objects_are_canonical_and_carry_their_hash() -> None:
    store = trained()
    for key in ("run.json", "LATEST.json", "versions/2.json"):
        data, _ = store.get(key)
        fields = json.loads(data)
        assert fields["format"] == 1
        assert len(fields["sha256"]) == 64
        assert data == json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def test_new_data_only_where_a_version_ends() -> None:
    store = MemoryStore()
    with open_log(store, "a") as writer:
        trainer = Trainer(writer)
        trainer.train(10)
    with open_log(store, "b", "data-2") as writer:
        trainer = Trainer(writer)
        writer.append(make_row(11))
        trainer.bank.apply([make_row(11).update()])
        writer.flush(trainer.bank.digest())
    with pytest.raises(LogMismatch, match="dataDigest is 'data-2' there and 'data-3' here"):
        open_log(store, "c", "data-3")
    with open_log(store, "d", "data-2") as writer:
        assert writer.step == 11
