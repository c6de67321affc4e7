"""The writer against a model, over generated histories of appends, flushes, versions, crashes and takeovers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fixtures.logs import DATA, LEASE, Crash, FailingStore, FakeProcess, bank_digest, make_row, run_info
from zo_runtime.deltalog import writer as writer_module
from zo_runtime.deltalog.documents import Evaluation
from zo_runtime.deltalog.names import last_step_of
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.deltalog.verify import verify
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import LogOwned
from zo_runtime.storage.memory import MemoryStore

State = tuple[int, int]  # durable steps, published versions
DIGESTS: dict[int, str] = {}


def digest_at(step: int) -> str:
    if step not in DIGESTS:
        DIGESTS[step] = bank_digest(step)
    return DIGESTS[step]


class LogMachine(RuleBasedStateMachine):
    """`durable` is what the log must show; `appended` is what the live writer holds."""

    @initialize()
    def begin(self) -> None:
        self.store = MemoryStore()
        self.processes = 0
        self.zombies: list[LogWriter] = []
        self.writer: LogWriter | None = None
        self.durable: State = (0, 0)
        self.open()

    def open(self) -> None:
        self.processes += 1
        self.failing = FailingStore(self.store, 0, after=False)
        who = FakeProcess(f"p{self.processes}", lambda writer: False)
        self.writer: LogWriter | None = LogWriter.open(
            self.failing, run_info(), data_digest=DATA, who=who, lease_seconds=LEASE
        )
        self.appended = self.writer.step
        assert (self.writer.step, len(self.writer.versions)) == self.durable

    def perform(self, work: Callable[[], object], state: State, crash: tuple[int, bool] | None) -> None:
        """Do it, or die on the way: then the log is in the old state or in the new one."""
        before = self.durable
        if crash is not None:
            self.failing.fatal, self.failing.after = self.failing.writes + crash[0], crash[1]
        try:
            work()
        except Crash:
            with suppress(Crash):
                self.writer.close()  # the dead have no heartbeat
            self.writer = None
            found = LogReader(self.store).history()
            self.durable = (found.latest.head.step, len(found.versions))
            assert self.durable in (state, before)
        else:
            self.durable = state
            self.failing.fatal = 0

    crashes = st.one_of(st.none(), st.tuples(st.integers(1, 7), st.booleans()))

    @precondition(lambda self: self.writer is not None)
    @rule(count=st.integers(1, 9))
    def append(self, count: int) -> None:
        for _ in range(count):
            self.appended += 1
            self.writer.append(make_row(self.appended))
        assert self.writer.step == self.appended

    @precondition(lambda self: self.writer is not None)
    @rule(crash=crashes)
    def flush(self, crash: tuple[int, bool] | None) -> None:
        digest = digest_at(self.appended)
        self.perform(lambda: self.writer.flush(digest), (self.appended, self.durable[1]), crash)

    @precondition(lambda self: self.writer is not None)
    @rule(crash=crashes, evaluated=st.booleans())
    def publish(self, crash: tuple[int, bool] | None, evaluated: bool) -> None:
        digest = digest_at(self.appended)
        evaluation = Evaluation(loss=1.0, examples=3) if evaluated else None
        state = (self.appended, self.durable[1] + 1)
        self.perform(lambda: self.writer.publish(evaluation, self.appended * 16, digest), state, crash)

    @precondition(lambda self: self.writer is not None)
    @rule()
    def close_and_reopen(self) -> None:
        self.writer.close()
        self.open()

    @precondition(lambda self: self.writer is None)
    @rule()
    def restart(self) -> None:
        self.open()

    @precondition(lambda self: self.writer is not None)
    @rule()
    def refuse_a_second_writer(self) -> None:
        who = FakeProcess("second", lambda writer: True)
        with pytest.raises(LogOwned):
            LogWriter.open(self.store, run_info(), data_digest=DATA, who=who, lease_seconds=LEASE)

    @precondition(lambda self: self.writer is not None)
    @rule()
    def take_over(self) -> None:
        self.zombies.append(self.writer)
        self.open()

    @precondition(lambda self: self.zombies)
    @rule(data=st.data())
    def wake_a_zombie(self, data: st.DataObject) -> None:
        zombie = data.draw(st.sampled_from(self.zombies))
        before = {info.key: info.etag for info in self.store.list()}
        if data.draw(st.booleans()):
            with pytest.raises(LogOwned):
                zombie.publish(None, 0, "0" * 64)
        else:
            zombie.close()
            self.zombies.remove(zombie)
        assert {info.key: info.etag for info in self.store.list()} == before

    @invariant()
    def the_log_shows_what_is_durable(self) -> None:
        if self.processes:
            reader = LogReader(self.store)
            history = reader.history()
            step, versions = self.durable
            assert (history.latest.head.step, len(history.versions)) == (step, versions)
            assert list(reader.updates()) == [make_row(t).update() for t in range(1, step + 1)]

    def teardown(self) -> None:
        if not self.processes:
            return
        for writer in (*self.zombies, *([self.writer] if self.writer else [])):
            writer.close()
        report = verify(self.store)
        assert report.problems == []
        assert report.digest == digest_at(self.durable[0])
        last_steps = [last_step_of(note.split()[0]) for note in report.notes]
        passed = [step for step in last_steps if step is not None and step <= self.durable[0]]
        assert self.writer is None or passed == [], "litter that the head has passed is cleared"


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "SEGMENT_STEPS", 7)


@pytest.mark.usefixtures("short_segments")
class TestLogMachine(LogMachine.TestCase):
    settings = settings(
        max_examples=20, stateful_step_count=16, suppress_health_check=[HealthCheck.too_slow], deadline=None
    )
