"""A folder as an object store: the promises, the hidden files, and the operating system's refusals."""

from __future__ import annotations

import errno
import fcntl
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from fixtures.store_contract import StoreContract
from zo_runtime.errors import StorageDenied, StorageError
from zo_runtime.storage import local_files
from zo_runtime.storage.local import LocalStore
from zo_runtime.storage.memory import MemoryStore
from zo_runtime.storage.protocol import NotFound, ObjectStore, PreconditionFailed


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "not" / "yet" / "there")

    def test_creates_once_without_hard_links(self, store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_links(source: object, target: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", no_links)
        self.test_creates_once(store)


class SameAsMemory(RuleBasedStateMachine):
    """Whatever happens to a folder happens to the reference, with the same answers and etags."""

    root: Path
    etags = Bundle("etags")
    keys = st.sampled_from(["a", "b/c", "b/d", "b.c/e"])
    data = st.binary(max_size=3)

    def __init__(self) -> None:
        super().__init__()
        self.folder = self.root / uuid.uuid4().hex
        self.stores = (MemoryStore(), LocalStore(self.folder))

    def both(self, act: Callable[[ObjectStore], object]) -> object:
        results = []
        for store in self.stores:
            try:
                results.append(act(store))
            except (NotFound, PreconditionFailed) as error:
                results.append(type(error))
        assert results[0] == results[1]
        return results[0]

    @rule(target=etags, key=keys, data=data, if_absent=st.booleans())
    def put(self, key: str, data: bytes, if_absent: bool) -> object:
        return self.both(lambda store: store.put(key, data, if_absent=if_absent))

    @rule(key=keys, data=data, etag=consumes(etags))
    def swap(self, key: str, data: bytes, etag: object) -> None:
        if isinstance(etag, str):
            self.both(lambda store: store.put(key, data, if_match=etag))

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.both(lambda store: store.delete(key))

    @rule(key=keys)
    def get(self, key: str) -> None:
        self.both(lambda store: store.get(key))

    @rule(prefix=st.sampled_from(["", "b", "b/", "b/c", "b.c/", "z"]))
    def list_prefix(self, prefix: str) -> None:
        self.both(lambda store: list(store.list(prefix)))

    @invariant()
    def leaves_no_temporary_file(self) -> None:
        corner = self.folder / ".zo-tmp"
        assert not corner.exists() or not list(corner.iterdir())


def test_a_folder_acts_like_the_reference(tmp_path: Path) -> None:
    SameAsMemory.root = tmp_path
    run_state_machine_as_test(SameAsMemory, settings=settings(max_examples=30, stateful_step_count=20))


def test_left_files_are_not_listed_and_go_once_they_are_old(tmp_path: Path) -> None:
    corner = tmp_path / ".zo-tmp"
    corner.mkdir()
    (corner / "old").write_bytes(b"half of an obj")
    (corner / "young").write_bytes(b"half of an obj")
    long_ago = time.time() - 2 * 3600
    os.utime(corner / "old", (long_ago, long_ago))
    store = LocalStore(tmp_path)
    store.put("key", b"x")
    assert [info.key for info in store.list()] == ["key"]
    assert [path.name for path in corner.iterdir()] == ["young"]


def test_objects_are_readable_for_the_other_users_of_a_volume(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        LocalStore(tmp_path).put("key", b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o644


def test_reads_a_folder_it_may_not_write(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"x")
    store = LocalStore(tmp_path)
    assert store.get("key")[0] == b"x"
    assert [info.key for info in store.list()] == ["key"]
    assert [path.name for path in tmp_path.iterdir()] == ["key"], "reading leaves nothing behind"


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOSPC, StorageError, "disk full; free some space"),
        (errno.EDQUOT, StorageError, "quota"),
        (errno.EIO, StorageError, "check the disk"),
        (errno.EACCES, StorageDenied, "permission denied"),
        (errno.EROFS, StorageDenied, "read-only"),
    ],
)
def test_a_refusal_of_the_system_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StorageError], said: str
) -> None:
    store = LocalStore(tmp_path)
    store.put("key", b"before")

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=said) as caught:
        store.put("key", b"after")
    assert type(caught.value) is kind
    assert str(tmp_path / "key") in str(caught.value)
    assert store.get("key")[0] == b"before"
    assert list((tmp_path / ".zo-tmp").iterdir()) == [], "the half-written file is gone"


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageDenied, match="a part of the path is a file"):
        LocalStore(tmp_path / "file").put("key", b"x")
    with pytest.raises(StorageDenied, match="a part of the path is a file"):
        LocalStore(tmp_path / "file" / "below").put("key", b"x")


def test_an_object_where_a_folder_is(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a/b", b"x")
    with pytest.raises(StorageDenied, match="it is a folder"):
        store.put("a", b"x")


def test_a_writer_that_hangs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    store.put("key", b"x")
    monkeypatch.setattr(local_files, "LOCK_PATIENCE_SECONDS", 0.05)
    with (tmp_path / ".zo-lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another process has held"):
            store.put("key", b"y")
    store.put("key", b"y")
