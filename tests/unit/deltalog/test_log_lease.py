"""One writer at a time: who may take a run, when, and what happens to the one that lost it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from fixtures.logs import DATA, LEASE, FailingStore, FakeClock, FakeProcess, Trainer, make_row, run_info
from zo_runtime.deltalog import owner
from zo_runtime.deltalog.checked_json import decode, encode
from zo_runtime.deltalog.documents import Latest
from zo_runtime.deltalog.heartbeat import Heartbeat
from zo_runtime.deltalog.lease import Lease
from zo_runtime.deltalog.owner import Process, _start_of
from zo_runtime.deltalog.verify import verify
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import LogCorrupt, LogOwned, StorageError
from zo_runtime.storage.memory import MemoryStore
from zo_runtime.storage.protocol import ObjectStore, PreconditionFailed


def open_log(store: ObjectStore, who: FakeProcess, clock: FakeClock | None = None) -> LogWriter:
    return LogWriter.open(store, run_info(), data_digest=DATA, who=who, clock=clock, lease_seconds=LEASE)


def latest_of(store: ObjectStore) -> Latest:
    return decode(store.get("LATEST.json")[0], Latest, "LATEST.json")


def beat(store: ObjectStore) -> None:
    """What the other machine's heartbeat does."""
    data, etag = store.get("LATEST.json")
    Lease(store, decode(data, Latest, "LATEST.json"), etag).renew()


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_a_store_that_ignores_conditions_is_refused(header: str) -> None:
    class Careless(MemoryStore):
        def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
            if header == "If-Match":
                return super().put(key, data, if_absent=if_absent)
            return super().put(key, data, if_match=if_match)

    with pytest.raises(StorageError, match=f"does not honour {header}; use a store with conditional writes"):
        open_log(Careless(), FakeProcess("a"))


def test_a_released_run_is_free_at_once() -> None:
    store, clock = MemoryStore(), FakeClock()
    open_log(store, FakeProcess("a")).close()
    with open_log(store, FakeProcess("b"), clock):
        writer = latest_of(store).writer
        assert (writer.id, writer.epoch, writer.released) == ("b", 2, False)
    assert clock.time == 0
    assert latest_of(store).writer.released


def test_a_writer_seen_alive_keeps_the_run_at_once() -> None:
    store, clock = MemoryStore(), FakeClock()
    with open_log(store, FakeProcess("a")):
        with pytest.raises(LogOwned, match=r"process 1 on h \(writer 1 of memory:\) is writing this run; end it"):
            open_log(store, FakeProcess("b", lambda writer: True), clock)
        assert clock.time == 0


def test_a_writer_seen_dead_loses_the_run_at_once() -> None:
    store, clock = MemoryStore(), FakeClock()
    first = open_log(store, FakeProcess("a"))
    with open_log(store, FakeProcess("b", lambda writer: writer.id != "a"), clock):
        assert latest_of(store).writer.epoch == 2
    assert clock.time == 0
    first.close()


def test_a_silent_writer_loses_the_run_after_the_lease() -> None:
    store, clock = MemoryStore(), FakeClock()
    first = open_log(store, FakeProcess("a"))
    with open_log(store, FakeProcess("b"), clock):
        assert clock.time == pytest.approx(LEASE)
        assert latest_of(store).writer.epoch == 2
    first.close()


@pytest.mark.parametrize("moment", [LEASE / 10, LEASE / 2, LEASE])
def test_one_heartbeat_within_the_lease_keeps_the_run(moment: float) -> None:
    store = MemoryStore()
    clock = FakeClock(lambda now: beat(store) if now == pytest.approx(moment) else None)
    with open_log(store, FakeProcess("a")):
        with pytest.raises(LogOwned, match="is writing this run"):
            open_log(store, FakeProcess("b"), clock)
        assert clock.time == pytest.approx(moment)


def test_of_two_that_take_over_together_one_wins() -> None:
    """Both have watched the silent writer to the end; the swap decides."""
    store, rivals = MemoryStore(), []

    def rival(now: float) -> None:
        if now >= LEASE - 1:
            rivals.append(open_log(store, FakeProcess("c", lambda writer: False)))

    first = open_log(store, FakeProcess("a"))
    with pytest.raises(LogOwned):
        open_log(store, FakeProcess("b"), FakeClock(rival))
    assert latest_of(store).writer.id == "c"
    for writer in (*rivals, first):
        writer.close()


def test_a_fenced_writer_stays_fenced_and_writes_nothing() -> None:
    store = MemoryStore()
    first = open_log(store, FakeProcess("a"))
    trainer = Trainer(first)
    trainer.train(6)
    second = open_log(store, FakeProcess("b", lambda writer: False))
    first.append(make_row(7))  # it cannot know yet
    with pytest.raises(LogOwned, match=r"process 1 on h \(writer 2 of memory:\) took the run over from this one"):
        first.flush("0" * 64)
    before = {i.key: i.etag for i in store.list()}
    for call in (
        lambda: first.append(make_row(8)),
        lambda: first.flush("0" * 64),
        lambda: first.publish(None, 0, "0" * 64),
    ):
        with pytest.raises(LogOwned, match="took the run over"):
            call()
    first.close()
    assert {i.key: i.etag for i in store.list()} == before
    Trainer(second).train(12)
    second.close()
    report = verify(store)
    assert (report.problems, report.notes, report.steps) == ([], [], 12)


def test_a_late_write_of_a_fenced_writer_hits_nobody() -> None:
    """It wakes up between its segment and the head, when its successor has long gone on."""
    store = MemoryStore()
    slow = FailingStore(store, 0, after=False)
    first = open_log(slow, FakeProcess("a"))
    trainer = Trainer(first)
    trainer.train(2)
    put = store.put

    def stalled(key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if key.startswith("metrics/") and "put" in vars(store):
            del store.put  # type: ignore[method-assign]
            with open_log(store, FakeProcess("b", lambda writer: False)) as second:
                Trainer(second).train(11)
        return put(key, data, if_absent=if_absent, if_match=if_match)

    store.put = stalled  # type: ignore[method-assign]
    first.append(make_row(3))
    with pytest.raises(LogOwned):
        first.flush("0" * 64)
    first.close()
    report = verify(store)
    assert (report.problems, report.steps) == ([], 11)


class LostAnswers(FailingStore):
    """Every conditional write of LATEST.json takes effect and is then reported as lost, as after a retry."""

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        etag = super().put(key, data, if_absent=if_absent, if_match=if_match)
        if key == "LATEST.json":
            raise PreconditionFailed(key)
        return etag


def test_a_lost_answer_is_no_lost_run() -> None:
    store = MemoryStore()
    with open_log(LostAnswers(store, 0, after=False), FakeProcess("a")) as writer:
        Trainer(writer).train(13)
    assert verify(store).problems == []
    assert latest_of(store).writer.released


class Forgetful(MemoryStore):
    """Says no to every conditional overwrite, whatever the etag."""

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if if_match is not None:
            raise PreconditionFailed(key)
        return super().put(key, data, if_absent=if_absent)


def test_a_store_without_conditional_writes_is_named() -> None:
    writer = open_log(Forgetful(), FakeProcess("a"))
    writer.append(make_row(1))
    with pytest.raises(StorageError, match="memory: does not honour If-Match; use a store with conditional writes"):
        writer.flush("0" * 64)
    writer.close()


def test_the_heartbeat_renews_outlives_failures_and_ends_when_fenced() -> None:
    store = MemoryStore()
    failing = FailingStore(store, 6, after=False, error=StorageError)
    writer = open_log(failing, FakeProcess("a"))
    lease = writer._lease
    ticks = Heartbeat(lease, 0.002)
    wait_until(lambda: failing.writes > 10)
    assert latest_of(store).writer.heartbeat > 3
    second = open_log(store, FakeProcess("b", lambda writer: False))
    wait_until(lambda: not ticks._thread.is_alive())
    ticks.stop()
    with pytest.raises(LogOwned):
        writer.append(make_row(1))
    writer.close()
    second.close()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_failed_opening_releases_the_run() -> None:
    store = MemoryStore()
    with open_log(store, FakeProcess("a")) as writer:
        Trainer(writer).train(3)
    segment = next(iter(store.list("segments/"))).key
    data, _ = store.get(segment)
    store.delete(segment)
    with pytest.raises(LogCorrupt, match="is missing"):
        open_log(store, FakeProcess("b"))
    assert latest_of(store).writer.released
    store.put(segment, data)
    open_log(store, FakeProcess("c")).close()


def test_every_write_of_the_head_differs() -> None:
    """Etags are hashes of the content: the same head twice would let a late swap pass."""
    store, seen = MemoryStore(), []
    put = store.put

    def recording(key: str, data: bytes, **conditions: object) -> str:
        etag = put(key, data, **conditions)  # type: ignore[arg-type]
        if key == "LATEST.json":
            seen.append(data)
        return etag

    store.put = recording  # type: ignore[method-assign]
    for name in "ab":
        with open_log(store, FakeProcess(name)) as writer:
            Trainer(writer).train(writer.step + 5)
            writer._lease.renew()
    assert len(seen) == len(set(seen)) > 8


def test_processes_are_told_apart() -> None:
    here = Process.current()
    mine = here.claim(1)
    assert here.is_alive(mine) is True
    assert Process.current().id != here.id
    assert here.is_alive(mine.model_copy(update={"process_start": "1"})) is False, "the pid was given again"
    for field in ("host", "boot_id", "pid_namespace"):
        assert here.is_alive(mine.model_copy(update={field: "another"})) is None
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    theirs = mine.model_copy(update={"pid": child.pid, "process_start": _start_of(child.pid)})
    assert here.is_alive(theirs) is True
    child.kill()
    wait_until(lambda: here.is_alive(theirs) is False)  # already as a zombie, before anybody waits for it
    child.communicate()


def test_a_process_that_proc_hides_is_left_to_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Process.current()
    theirs = here.claim(1)
    monkeypatch.setattr(owner, "_start_of", lambda pid: "")
    assert here.is_alive(theirs) is False, "it may be signalled, so it is a zombie"

    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(owner.os, "kill", forbidden)
    assert here.is_alive(theirs) is None


def test_the_head_is_written_as_it_is_read() -> None:
    store = MemoryStore()
    with open_log(store, FakeProcess("a")):
        data, _ = store.get("LATEST.json")
        assert encode(decode(data, Latest, "LATEST.json")) == data
