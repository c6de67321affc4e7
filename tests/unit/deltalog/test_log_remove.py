"""Removing a log: everything of it and nothing else, never under a living writer, and again after a crash."""

from __future__ import annotations

import pytest

from fixtures.logs import DATA, LEASE, Crash, FailingStore, FakeClock, FakeProcess, Trainer, run_info
from zo_runtime.deltalog.quarantine_file import put_quarantine
from zo_runtime.deltalog.remove import Removal, remove
from zo_runtime.deltalog.report_page import put_report
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import LogOwned, StorageError
from zo_runtime.storage.memory import MemoryStore
from zo_runtime.storage.protocol import ObjectStore


def open_log(store: ObjectStore, who: str = "writer") -> LogWriter:
    return LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess(who), lease_seconds=LEASE)


def log_of(steps: int) -> MemoryStore:
    store = MemoryStore()
    with open_log(store) as writer:
        Trainer(writer).train(steps)
    return store


def removed(store: ObjectStore, clock: FakeClock | None = None) -> Removal:
    return remove(store, who=FakeProcess("remover"), clock=clock or FakeClock(), lease_seconds=LEASE)


def test_everything_of_the_log_goes_and_nothing_else() -> None:
    store = log_of(25)
    put_report(store, "<p>report</p>")
    put_quarantine(store, b'{"text": 1}\n')
    foreign = {"notes.txt", "segments/mine.txt", "quarantine/list.jsonl", "deeper/run.json"}
    before = list(store.list())
    for key in foreign:
        store.put(key, b"mine")
    seen: list[tuple[int, int]] = []
    found = remove(store, lambda *at: seen.append(at), who=FakeProcess("r"), clock=FakeClock(), lease_seconds=LEASE)
    assert found == Removal(len(before), sum(info.size for info in before), len(foreign))
    assert {info.key for info in store.list()} == foreign
    assert seen[-1] == (len(before), len(before))


def test_where_there_is_no_log_nothing_happens() -> None:
    store = MemoryStore()
    store.put("notes.txt", b"mine")
    assert removed(store) == Removal(0, 0, 1)


def test_a_log_that_is_being_written_stays() -> None:
    store = MemoryStore()
    with open_log(store) as writer:
        Trainer(writer).train(5)
        before = {info.key for info in store.list()}
        with pytest.raises(LogOwned):
            remove(store, who=FakeProcess("remover", lambda writer: True), clock=FakeClock(), lease_seconds=LEASE)
        assert {info.key for info in store.list()} == before
        Trainer(writer).train(9)


def test_a_silent_writer_is_waited_for_once() -> None:
    store, clock = MemoryStore(), FakeClock()
    open_log(FailingStore(store, 10**9, after=False), "dead")
    removed(store, clock)
    assert list(store.list()) == []
    assert clock.time == pytest.approx(LEASE)


def test_an_unreadable_head_does_not_keep_a_log_from_going() -> None:
    store = log_of(12)
    store.put("LATEST.json", b"{")
    removed(store)
    assert list(store.list()) == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("fatal", range(1, 12))
def test_a_removal_that_was_cut_short_is_finished_by_the_next(fatal: int, after: bool) -> None:
    store = log_of(25)
    with pytest.raises(Crash):
        removed(FailingStore(store, fatal, after))
    removed(store)
    assert list(store.list()) == []


def test_a_removal_that_failed_gives_the_run_back() -> None:
    store, clock = log_of(25), FakeClock()
    with pytest.raises(StorageError):
        removed(FailingStore(store, 5, after=False, error=StorageError))
    removed(store, clock)
    assert list(store.list()) == []
    assert clock.time == 0, "nobody had to be waited for"


def test_nobody_continues_what_is_left_of_a_log() -> None:
    store = log_of(25)
    with pytest.raises(Crash):
        removed(FailingStore(store, 4, after=False))
    left = {info.key for info in store.list()}
    assert "run.json" not in left and "LATEST.json" in left
