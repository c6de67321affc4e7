"""`verify` finds every kind of damage, and says in which object."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fixtures.logs import DATA, LEASE, FakeProcess, Trainer, bank_digest, make_row, run_info
from zo_runtime.deltalog.checked_json import _seal, sha256
from zo_runtime.deltalog.parquet import encode_segment
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.deltalog.report_page import put_report
from zo_runtime.deltalog.rows import StepRow
from zo_runtime.deltalog.verify import verify
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import LogCorrupt, LogMismatch
from zo_runtime.storage.memory import MemoryStore


def make_log() -> MemoryStore:
    """Two versions, and a head beyond them; and a report."""
    store = MemoryStore()
    with LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("a"), lease_seconds=LEASE) as writer:
        trainer = Trainer(writer)
        trainer.train(20)
        for step in (21, 22, 23):
            trainer.bank.apply([make_row(step).update()])
            writer.append(make_row(step))
        writer.flush(trainer.bank.digest())
    put_report(store, "<html>curves</html>")
    return store


def test_a_sound_log_has_no_problems() -> None:
    store, seen = make_log(), []
    report = verify(store, lambda step, steps: seen.append((step, steps)), threads=2)
    assert (report.problems, report.notes) == ([], [])
    assert (report.steps, report.versions, report.objects) == (23, 2, 11)
    assert report.digest == bank_digest(23)
    assert report.bytes == sum(i.size for i in store.list())
    assert seen == [(10, 23), (20, 23), (23, 23)]
    report.require_sound()


KINDS = ["run.json", "LATEST.json", "versions/1.json", "versions/2.json", "metrics/report.html",
         "segments/000000001-000000010.parquet", "segments/000000021-000000023.parquet",
         "metrics/000000011-000000020.parquet", "metrics/000000021-000000023.parquet"]  # fmt: skip


@pytest.mark.parametrize("key", KINDS)
def test_any_flipped_bit_is_found(key: str) -> None:
    store = make_log()
    data, _ = store.get(key)
    positions = {0, len(data) - 1, *random.Random(key).sample(range(len(data)), 25)}
    for position in sorted(positions):
        bit = 1 << random.Random(position).randrange(8)
        store.put(key, data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :])
        report = verify(store)
        assert any(key in problem for problem in report.problems), (position, bit, report.problems)
        with pytest.raises(LogCorrupt):
            report.require_sound()
    store.put(key, data)
    assert verify(store).problems == []


@pytest.mark.parametrize("key", [k for k in KINDS if "metrics/" not in k])
def test_no_reader_uses_a_flipped_object(key: str) -> None:
    store = make_log()
    data, _ = store.get(key)
    middle = len(data) // 2
    store.put(key, data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :])
    with pytest.raises(LogCorrupt, match=key):
        list(LogReader(store).updates())
    with (
        pytest.raises(LogCorrupt, match=key),
        LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("b"), lease_seconds=LEASE) as writer,
    ):
        list(writer.updates())


@pytest.mark.parametrize("key", [k for k in KINDS if "report" not in k])
def test_a_missing_object_is_found(key: str) -> None:
    store = make_log()
    store.delete(key)
    problems = verify(store).problems
    assert any(key in p and "missing" in p for p in problems), problems


def test_all_problems_are_reported_and_counted() -> None:
    store = make_log()
    for key in ("segments/000000001-000000010.parquet", "metrics/000000011-000000020.parquet", "versions/2.json"):
        store.put(key, b"?" + store.get(key)[0][1:])
    report = verify(store)
    assert len(report.problems) == 2, "the metrics are hidden behind the broken version"
    assert report.notes[0] == "the replay ends at step 0: no later digest could be compared"
    with pytest.raises(LogCorrupt, match=r"\(and 1 more\)"):
        report.require_sound()


def test_unknown_objects_are_noted_only() -> None:
    store = make_log()
    store.put("versions/3.json", b"{}")
    store.put("notes.txt", b"mine")
    report = verify(store)
    assert report.problems == []
    assert [note.split()[0] for note in report.notes] == ["notes.txt", "versions/3.json"]


# A forger, or a bug, that makes every hash fit.


def forge(store: MemoryStore, change: Callable[[dict[str, Any]], None], key: str) -> None:
    """Change a JSON object and make its own checksum fit again."""
    fields = json.loads(store.get(key)[0])
    fields.pop("sha256")
    change(fields)
    store.put(key, _seal(fields))


def forge_head_rows(store: MemoryStore, rows: list[StepRow]) -> None:
    """Put other rows into the head's segment and make all hashes fit."""
    data = encode_segment(rows)
    store.put("segments/000000021-000000023.parquet", data)

    def change(fields: dict[str, Any]) -> None:
        fields["head"]["segments"][0] |= {"size": len(data), "sha256": sha256(data)}

    forge(store, change, "LATEST.json")


HEAD_ROWS = [make_row(step) for step in (21, 22, 23)]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (HEAD_ROWS[:2], "does not hold the steps that its name says"),
        ([*HEAD_ROWS[:2], HEAD_ROWS[1]], "does not hold the steps that its name says"),
        (HEAD_ROWS[::-1], "does not hold the steps that its name says"),
        ([replace(r, loss_plus=(1.0,), loss_minus=(1.0,), coefficients=(0.5,)) for r in HEAD_ROWS], "does not hold"),
        ([replace(HEAD_ROWS[0], loss_plus=(float("nan"), 1.0)), *HEAD_ROWS[1:]], "a loss_plus that is not finite"),
        ([replace(HEAD_ROWS[0], coefficients=(1.0000001, 0.0)), *HEAD_ROWS[1:]], "more than 21 significant bits"),
        ([replace(HEAD_ROWS[0], coefficients=(2.0**-110, 0.0)), *HEAD_ROWS[1:]], "more than 21 significant bits"),
        ([replace(HEAD_ROWS[0], coefficients=(0.5, 0.0)), *HEAD_ROWS[1:]], "LATEST.json records the digest"),
    ],
)
def test_rows_that_cannot_be_right_are_found(rows: list[StepRow], sentence: str) -> None:
    store = make_log()
    forge_head_rows(store, rows)
    problems = verify(store).problems
    assert len(problems) == 1
    assert sentence in problems[0]


@pytest.mark.parametrize(
    ("key", "change", "sentence"),
    [
        ("versions/2.json", lambda f: f.update(digest="0" * 64), "LATEST.json does not fit the newest version"),
        ("versions/2.json", lambda f: f.update(digest="0" * 64), "versions/2.json records the digest 0000"),
        ("versions/1.json", lambda f: f.update(number=7), "versions/1.json says that it is version 7"),
        ("versions/1.json", lambda f: f.update(lastStep=9), "versions/2.json covers the steps 11..20 after step 9"),
        ("versions/1.json", lambda f: f.update(metrics=[]), "versions/1.json lists objects up to step 0, not 10"),
        ("versions/1.json", lambda f: f.update(run="0" * 64), "versions/1.json belongs to another run.json"),
        ("versions/1.json", lambda f: f.update(cursor=-1), "versions/1.json: cursor: "),
        ("versions/1.json", lambda f: f.update(colour="red"), "versions/1.json: colour: "),
        ("LATEST.json", lambda f: f["head"].update(step=24), "LATEST.json lists objects up to step 23, not 24"),
        ("LATEST.json", lambda f: f["head"].update(digest="0" * 64), "LATEST.json records the digest 0000"),
        ("LATEST.json", lambda f: f.update(version=1), "LATEST.json does not fit the newest version"),
        ("LATEST.json", lambda f: f.update(run="0" * 64), "LATEST.json belongs to another run.json"),
        ("run.json", lambda f: f["method"].update(seed=1), "LATEST.json belongs to another run.json"),
    ],
)
def test_documents_that_do_not_fit_are_found(key: str, change: Callable[[Any], None], sentence: str) -> None:
    store = make_log()
    forge(store, change, key)
    problems = verify(store).problems
    assert any(sentence in problem for problem in problems), problems


def test_another_format_asks_for_another_program() -> None:
    store = make_log()
    forge(store, lambda f: f.update(format=2), "run.json")
    with pytest.raises(LogMismatch, match=r"run.json has format 2, this program reads 1; use a matching zofinetune"):
        verify(store)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"sha256":1}', b'{"a":NaN,"sha256":""}'])
def test_what_is_no_checked_json_is_refused(data: bytes) -> None:
    store = make_log()
    store.put("run.json", data)
    with pytest.raises(LogCorrupt, match=r"run\.json .*; restore the object from a copy"):
        LogReader(store).head()


def test_a_log_that_goes_on_meanwhile_is_sound() -> None:
    """Between two reads of a verification its writer replaces the last segment."""
    store = make_log()
    with LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("b"), lease_seconds=LEASE) as writer:
        trainer = Trainer(writer)
        get = store.get

        def get_later(key: str) -> tuple[bytes, str]:
            if key == "segments/000000021-000000023.parquet":
                store.get = get  # type: ignore[method-assign]
                trainer.train(26, flush_every=1, publish_every=1000)
            return get(key)

        store.get = get_later  # type: ignore[method-assign]
        report = verify(store)
    assert (report.problems, report.steps) == ([], 26)


def test_a_reader_goes_on_where_the_writer_replaced_what_it_wanted() -> None:
    store = make_log()
    reader = LogReader(store)
    with LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("b"), lease_seconds=LEASE) as writer:
        trainer = Trainer(writer)
        updates = reader.updates(15)
        got = [next(updates)]
        trainer.train(26, flush_every=1, publish_every=1000)
        got += updates
    assert got == [make_row(step).update() for step in range(15, 24)]


def test_append_refuses_what_must_not_get_into_a_log() -> None:
    store = MemoryStore()
    good = make_row(1)
    with LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("a"), lease_seconds=LEASE) as writer:
        for bad, sentence in [
            (make_row(2), "expected step 1, got step 2"),
            (replace(good, loss_minus=(0.5,)), "loss_minus has 1 values, not 2"),
            (replace(good, loss_plus=(float("inf"), 0.5)), "loss_plus is not finite"),
            (replace(good, loss_plus=(1e300, 0.5)), "loss_plus is not finite"),
            (replace(good, coefficients=(0.1, 0.1)), "are not rounded"),
            (replace(good, learning_rate=0.1), "the learning rate 0.1 is not a float32"),
            (replace(good, cursor=-1), "must not be negative"),
        ]:
            with pytest.raises(ValueError, match=sentence):
                writer.append(bad)
        assert writer.step == 0


def test_problems_are_sentences_not_tracebacks() -> None:
    store = make_log()
    store.put("segments/000000001-000000010.parquet", b"PAR1 nothing PAR1")
    for problem in verify(store).problems:
        assert problem.startswith("segments/000000001-000000010.parquet does not have the bytes")
