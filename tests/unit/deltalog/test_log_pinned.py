"""A version that its hash pins: the chain below it is verified, the head and what came later do not matter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.logs import DATA, LEASE, FakeProcess, Trainer, bank_digest, run_info
from zo_runtime.adapter.replay import replay_version
from zo_runtime.deltalog.chain import load_link
from zo_runtime.deltalog.pinned import PinnedVersion
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import InvalidSpec, LogCorrupt, LogMismatch
from zo_runtime.storage.memory import MemoryStore


def trained(steps: int = 35, name: str = "run") -> MemoryStore:
    store = MemoryStore()
    who = FakeProcess(f"to-{steps}")
    with LogWriter.open(store, run_info(name=name), data_digest=DATA, who=who, lease_seconds=LEASE) as writer:
        Trainer(writer).train(steps)
    return store


def pinned(store: MemoryStore, number: int) -> PinnedVersion:
    return PinnedVersion(store, number, load_link(store, number).sha256)


STORE = trained()


@given(st.integers(1, 4), st.data())
def test_any_step_of_any_version_is_the_trainers(number: int, data: st.DataObject) -> None:
    log = pinned(STORE, number)
    step = data.draw(st.none() | st.integers(0, log.require_step(None)))
    wanted = log.require_step(None) if step is None else step
    assert replay_version(log, step=step, threads=1).digest() == bank_digest(wanted)


def test_what_came_later_does_not_matter() -> None:
    store = trained()
    for key in ("LATEST.json", "versions/3.json", "segments/000000021-000000030.parquet"):
        store.delete(key)
    assert replay_version(pinned(store, 2)).digest() == bank_digest(20)


def test_known_links_are_not_fetched_again_but_held_to_the_chain() -> None:
    store = trained()
    known = pinned(store, 2).links
    reads: list[str] = []
    get = store.get
    store.get = lambda key: (reads.append(key), get(key))[1]  # type: ignore[method-assign]
    digest = load_link(store, 3).sha256
    reads.clear()
    assert PinnedVersion(store, 3, digest, known).links[:2] == known
    assert reads == ["run.json", "versions/3.json"]
    foreign = pinned(trained(name="other"), 2).links
    with pytest.raises(LogCorrupt):
        PinnedVersion(store, 3, digest, foreign)


def test_another_log_is_refused() -> None:
    digest = load_link(trained(name="other"), 2).sha256
    with pytest.raises(LogMismatch, match=r"versions/2.json of .* has the SHA-256 .*; set the target anew"):
        PinnedVersion(STORE, 2, digest)


def test_a_version_or_a_step_that_is_not_there_is_named() -> None:
    with pytest.raises(LogCorrupt, match=r"versions/5.json is missing"):
        PinnedVersion(STORE, 5, "0" * 64)
    with pytest.raises(InvalidSpec, match=r"version 2 of .* has no step 21; it has the steps 0 to 20"):
        replay_version(pinned(STORE, 2), step=21)


@pytest.mark.parametrize("key", ["run.json", "versions/1.json", "segments/000000011-000000020.parquet"])
def test_a_flipped_bit_below_is_found(key: str) -> None:
    store = trained()
    data = bytearray(store.get(key)[0])
    data[len(data) // 2] ^= 4
    digest = load_link(store, 2).sha256
    store.put(key, bytes(data))
    with pytest.raises(LogCorrupt):
        replay_version(PinnedVersion(store, 2, digest))
    store.delete(key)
    with pytest.raises(LogCorrupt, match="is missing"):
        replay_version(PinnedVersion(store, 2, digest))
