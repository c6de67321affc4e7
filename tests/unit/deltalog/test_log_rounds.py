"""A log of rounds is a tree of steps in one line: every bank of it comes back bit for bit, whatever was rejected."""

from __future__ import annotations

import json
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.logs import DATA, LEASE, METHOD, Crash, FailingStore, FakeClock, FakeProcess, Trainer, run_info
from fixtures.rounds import ACCEPTED, REJECTED, Model, RoundTrainer, data_of, open_rounds, reference
from zo_runtime.adapter.replay import replay, replay_version
from zo_runtime.deltalog.chain import load_link
from zo_runtime.deltalog.checked_json import decode, encode, sha256
from zo_runtime.deltalog.data_list import load_data_list
from zo_runtime.deltalog.documents import Latest
from zo_runtime.deltalog.lineage import tip
from zo_runtime.deltalog.pinned import PinnedVersion
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.deltalog.remove import remove
from zo_runtime.deltalog.verify import verify
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import InvalidSpec, LogMismatch
from zo_runtime.rounds.contract import Verdict
from zo_runtime.storage.memory import MemoryStore
from zo_runtime.zo.method import Method

MOMENTUM = Method(seed=3, interval=4, directions=1, epsilon=2.0**-10, momentum=0.9, weight_decay=0.1)
Plan = tuple[float, int, int, int, Verdict | None]
# Which version to continue from (a share of those that there are; above 1 is the base model), steps, steps between
# versions, steps between flushes, and how the round ends: None is given up, with or without a flushed tail.
plans = st.tuples(
    st.floats(0, 1.2),
    st.integers(0, 8),
    st.integers(2, 9),
    st.integers(1, 9),
    st.sampled_from([ACCEPTED, REJECTED, None]),
)


def play(store: MemoryStore, method: Method, rounds: list[Plan]) -> Model:
    """Make the log, and beside it what every step and version of it must be."""
    model = Model(method)
    for number, (share, steps, publish_every, flush_every, verdict) in enumerate(rounds, 1):
        count = len(model.versions)
        base = int(share * count) if share < 1 and count else None
        if LogReaderOf(store).unpublished:
            model.versions.append(model.durable)  # the next round closes what this one left
        model.begin(base)
        model.versions.append(model.head)
        ref = reference(store, None if base is None else base + 1)
        origin = LogReaderOf(store).step
        RoundTrainer(store, method, number, ref).run(steps, publish_every, flush_every, verdict)
        model.durable = model.head
        for step in range(1, steps + 1):
            model.step(origin + step)
            if step % publish_every == 0:
                model.versions.append(model.head)
            if step % publish_every == 0 or step % flush_every == 0:
                model.durable = model.head
        if verdict is not None:
            model.versions.append(model.head)
            model.durable = model.head
    return model


class LogReaderOf:
    """Where a log stands, also before it exists."""

    def __init__(self, store: MemoryStore):
        self.step, self.unpublished = 0, False
        if any(True for _ in store.list("LATEST")):
            history = LogReader(store).history()
            self.step = history.latest.head.step
            self.unpublished = history.published_step < self.step


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([METHOD, MOMENTUM]), st.lists(plans, min_size=1, max_size=6))
def test_every_bank_of_any_tree_comes_back(method: Method, rounds: list[Plan]) -> None:
    store = MemoryStore()
    model = play(store, method, rounds)
    reader = LogReader(store)
    history = reader.history()
    report = verify(store)
    assert report.problems == []
    assert report.notes == []
    assert report.digest == model.durable.digest() == history.latest.head.digest
    assert [v.digest for v in history.versions] == [bank.digest() for bank in model.versions]
    with tempfile.TemporaryDirectory() as folder:
        for number, bank in enumerate(model.versions, 1):
            assert replay(reader, version=number, threads=1).digest() == bank.digest()
            pinned = PinnedVersion(store, number, load_link(store, number).sha256)
            kept = replay_version(pinned, snapshot_dir=Path(folder), threads=1)
            assert kept.digest() == bank.digest(), "incrementally, from whichever snapshot lies on the way"
    for step in range(history.latest.head.step + 1):
        assert replay(reader, step=step, threads=1).digest() == model.banks[step].digest()
    assert replay(reader, threads=1).digest() == model.durable.digest()


@settings(max_examples=25, deadline=None)
@given(st.lists(plans, min_size=2, max_size=5))
def test_the_steps_of_a_path_are_those_that_made_the_bank(rounds: list[Plan]) -> None:
    store = MemoryStore()
    play(store, METHOD, rounds)
    history = LogReader(store).history()
    lineage = history.lineage
    covered = [step for span in lineage.spans for step in range(span.first, span.last + 1)]
    assert covered == list(range(1, history.latest.head.step + 1)), "every step has its place, once"
    for step in covered:
        path = lineage.path(step)
        assert path[-1].last == step
        assert path[0].base == 0
        assert all(before.last == span.base < span.first for before, span in pairwise(path))
    with open_rounds(store, METHOD) as writer:
        assert [u.step for u in writer.updates()] == [
            step for span in lineage.path(history.tip) for step in range(span.first, span.last + 1)
        ]


THREE = [(None, 5, 3, 2, ACCEPTED), (3, 6, 4, 2, REJECTED), (3, 5, 2, 3, ACCEPTED)]


def smooth() -> tuple[MemoryStore, int]:
    """The second round is rejected, the third continues from where the second did; and how many writes that takes."""
    store = MemoryStore()
    counting = FailingStore(store, 0, after=False)
    play_three(counting, store)
    return store, counting.writes


def play_three(failing: FailingStore | MemoryStore, store: MemoryStore) -> None:
    """What an operator and its pods do; what the log holds already is not done again."""
    begun = LogReader(store).head().round or 0 if any(True for _ in store.list("LATEST")) else 0
    for number, (base, steps, publish_every, flush_every, verdict) in enumerate(THREE, 1):
        if number >= begun:
            trainer = RoundTrainer(failing, METHOD, number, reference(store, base))
            trainer.run(steps, publish_every, flush_every, verdict)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_write_of_any_round_is_survived(after: bool) -> None:
    whole, writes = smooth()
    wanted = [(v.digest, v.first_step, v.last_step, v.base, v.round, v.verdict) for v in LogReader(whole).versions()]
    assert writes > 40
    for fatal in range(1, writes + 1):
        store = MemoryStore()
        with pytest.raises(Crash):
            play_three(FailingStore(store, fatal, after), store)
        play_three(store, store)
        report = verify(store)
        assert report.problems == []
        assert report.notes == []
        found = LogReader(store).versions()
        assert [(v.digest, v.first_step, v.last_step, v.base, v.round, v.verdict) for v in found] == wanted


def test_the_third_round_leads_around_the_second() -> None:
    store, _ = smooth()
    history = LogReader(store).history()
    assert [(v.number, v.round, v.first_step, v.last_step, v.base) for v in history.versions] == [
        (1, 1, 1, 0, None),
        (2, 1, 1, 3, None),
        (3, 1, 4, 5, None),
        (4, 2, 6, 5, None),
        (5, 2, 6, 9, None),
        (6, 2, 10, 11, None),
        (7, 3, 12, 11, 5),
        (8, 3, 12, 13, 5),
        (9, 3, 14, 15, None),
        (10, 3, 16, 16, None),
    ]
    assert [(s.first, s.last, s.base) for s in history.lineage.path(16)] == [(1, 5, 0), (12, 16, 5)]
    assert history.versions[6].digest == history.versions[2].digest
    assert [v.verdict for v in history.versions if v.verdict] == [ACCEPTED, REJECTED, ACCEPTED]
    for version in history.versions:
        data = load_data_list(store, version.round or 0, version.data_list or "")
        assert data.round == version.round


def test_a_step_of_a_rejected_round_is_no_step_of_a_later_version() -> None:
    store, _ = smooth()
    pinned = PinnedVersion(store, 10, load_link(store, 10).sha256)
    with pytest.raises(InvalidSpec, match=r"version 10 of .* has no step 8; it has the steps 0 to 5, 12 to 16"):
        pinned.require_step(8)
    assert pinned.require_step(5) == 5
    assert pinned.require_step(None) == 16


def test_what_a_failed_round_left_becomes_a_version_without_a_verdict() -> None:
    store = MemoryStore()
    RoundTrainer(store, METHOD, 1, None).run(7, 5, 2, None)
    RoundTrainer(store, METHOD, 2, None).run(2, 5, 2, ACCEPTED)
    closed = LogReader(store).version(3)
    assert (closed.first_step, closed.last_step, closed.cursor) == (6, 6, 7)
    assert (closed.round, closed.evaluation, closed.verdict) == (1, None, None)
    assert closed.data_digest == "data-1"
    assert LogReader(store).version(4).base == 0
    assert verify(store).problems == []


def test_a_run_without_rounds_writes_what_it_always_did() -> None:
    store = MemoryStore()
    who = FakeProcess("golden")
    with LogWriter.open(
        store, run_info(), data_digest=DATA, who=who, clock=FakeClock(), lease_seconds=LEASE
    ) as writer:
        trainer = Trainer(writer)
        trainer.publish()
        trainer.train(25)
    assert sha256(store.get("run.json")[0]) == "1ba2e895240e1ea2dbefa4a216c1958e0cfedd576efec212115e413f15ffc8b1"
    assert sha256(store.get("versions/1.json")[0]) == (
        "6797d9827b16646eae92a2f6f574034ea77fb0e0c89592a137d64f84f9a1e909"
    )
    for number in (1, 2, 3, 4):
        assert set(json.loads(store.get(f"versions/{number}.json")[0])) == {
            "format", "number", "run", "previous", "firstStep", "lastStep", "segments", "metrics", "evaluation",
            "cursor", "dataDigest", "digest", "created", "sha256",
        }  # fmt: skip
    head = json.loads(store.get("LATEST.json")[0])["head"]
    assert set(head) == {"step", "digest", "dataDigest", "segments", "metrics"}
    assert not any(True for _ in store.list("data/"))


def test_a_run_without_rounds_may_be_followed_by_rounds_but_not_the_other_way() -> None:
    store = MemoryStore()
    with LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("a"), lease_seconds=LEASE) as writer:
        Trainer(writer).train(13)
    RoundTrainer(store, METHOD, 1, reference(store, 1)).run(4, 3, 2, ACCEPTED)
    assert verify(store).problems == []
    assert [(s.first, s.last) for s in LogReader(store).history().lineage.path(17)] == [(1, 10), (14, 17)]
    with pytest.raises(LogMismatch, match="made of rounds, the last of them round 1, and this manifest orders none"):
        LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("b"), lease_seconds=LEASE)


def test_a_round_is_begun_once_and_with_one_set_of_data() -> None:
    store, _ = smooth()
    with open_rounds(store, METHOD) as writer:
        with pytest.raises(LogMismatch, match="in round 3 already: round 2 is over"):
            writer.begin_round(data_of(2, 17, None), "x")
        with pytest.raises(LogMismatch, match=r"round 3 .* was begun with other data"):
            writer.begin_round(data_of(3, 12, None), "data-3")
        with pytest.raises(LogMismatch, match=r"round 3 .* dataDigest is 'data-3' there and 'x' here"):
            writer.begin_round(data_of(3, 12, reference(store, 3)), "x")
        base = reference(store, 3)
        assert base is not None
        with pytest.raises(LogMismatch, match=r"versions/3.json of .* has the SHA-256 .*, and the round asks for 0"):
            writer.begin_round(data_of(4, 17, base.model_copy(update={"sha256": "0" * 64})), "x")
        with pytest.raises(LogMismatch, match=r"versions/30.json of .* is not there"):
            writer.begin_round(data_of(4, 17, base.model_copy(update={"version": 30})), "x")
        assert writer.head == LogReader(store).head()


def test_a_users_object_in_the_place_of_a_data_list_is_kept() -> None:
    store = MemoryStore()
    store.put("data/1.json", b'{"text": "a user keeps data below the log"}')
    with pytest.raises(LogMismatch, match=r"data/1.json of .* is no part of a delta log; give this run a"):
        RoundTrainer(store, METHOD, 1, None).run(2, 2, 2, ACCEPTED)
    RoundTrainer(store, METHOD, 2, None).run(2, 2, 2, ACCEPTED)
    remove(store, who=FakeProcess("r", lambda writer: False), lease_seconds=LEASE)
    assert [info.key for info in store.list()] == ["data/1.json"]


def altered(store: MemoryStore, number: int, **changes: object) -> None:
    """A version that says something else, with a chain that is whole."""
    versions = LogReader(store).versions()
    digest = sha256(encode(versions[number - 2]))
    for version in versions[number - 1 :]:
        data = encode(version.model_copy(update={"previous": digest, **changes}))
        changes = {}
        digest = sha256(data)
        store.put(f"versions/{version.number}.json", data)
    latest = decode(store.get("LATEST.json")[0], Latest, "LATEST.json")
    store.put("LATEST.json", encode(latest.model_copy(update={"version_sha256": digest})))


@pytest.mark.parametrize(
    ("number", "changes", "problem"),
    [
        (7, {"base": 4}, "versions/7.json continues step 12 from step 4, where no earlier version ends"),
        (8, {"base": None}, "versions/8.json records the digest"),
        (5, {"round": 3}, "versions/6.json is of round 2 after round 3"),
        (5, {"round": None}, "versions/5.json does not name what its round learns from"),
        (5, {"data_list": "b" * 64}, "versions/5.json names other data of round 2"),
        (5, {"verdict": ACCEPTED}, "versions/6.json goes on with round 2 after its verdict"),
        (7, {"digest": "c" * 64}, "versions/7.json records the digest"),
    ],
)
def test_a_break_between_rounds_is_found(number: int, changes: dict[str, object], problem: str) -> None:
    store, _ = smooth()
    altered(store, number, **changes)
    assert any(problem in found for found in verify(store).problems), verify(store).problems


def test_a_data_list_that_is_gone_or_changed_is_found() -> None:
    store, _ = smooth()
    store.put("data/2.json", store.get("data/3.json")[0])
    assert "data/2.json does not have the bytes" in verify(store).problems[0]
    store.delete("data/2.json")
    assert verify(store).problems == ["data/2.json is missing; restore it from a copy"]


def test_a_broken_segment_of_a_rejected_round_hides_no_other() -> None:
    store, _ = smooth()
    key = LogReader(store).version(5).segments[0].key
    store.put(key, b"x")
    report = verify(store)
    assert len(report.problems) == 1
    assert report.digest == LogReader(store).head().digest, "the later round does not stand on it"
    assert replay(LogReader(store), threads=1).digest() == report.digest
    assert tip(LogReader(store).versions()[-1]) == 16
