"""The log in a real S3, directly and through a network that fails one request in five."""

from __future__ import annotations

import pytest

from fixtures.faulty import FaultyProxy
from fixtures.logs import DATA, LEASE, FakeProcess, Trainer, bank_digest, run_info
from fixtures.seaweed import S3Service
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.deltalog.verify import verify
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import LogCorrupt, LogOwned
from zo_runtime.storage.open import open_store
from zo_runtime.storage.protocol import ObjectStore
from zo_runtime.storage.retry import Retry
from zo_runtime.storage.s3 import S3Store

pytestmark = pytest.mark.s3
QUICK = Retry(first_pause=0.001, longest_pause=0.1)


def open_log(store: ObjectStore, name: str) -> LogWriter:
    who = FakeProcess(name, lambda writer: True)
    return LogWriter.open(store, run_info(), data_digest=DATA, who=who, lease_seconds=LEASE)


def test_run_resume_refusal_and_damage(seaweed: S3Service) -> None:
    store = open_store(f"{seaweed.uri}/runs/one", seaweed.settings)
    with open_log(store, "a") as writer:
        Trainer(writer).train(13)
        with pytest.raises(LogOwned):
            open_log(store, "b")
    with open_log(store, "c") as writer:
        assert writer.step == 13
        Trainer(writer).train(25)
    report = verify(store)
    assert (report.problems, report.notes, report.digest) == ([], [], bank_digest(25))
    key = LogReader(store).versions()[0].segments[0].key
    data, _ = store.get(key)
    store.put(key, data[:300] + bytes([data[300] ^ 1]) + data[301:])
    with pytest.raises(LogCorrupt, match=key):
        verify(store).require_sound()


def test_one_request_in_five_may_fail(faulty_s3: S3Service, faulty_proxy: FaultyProxy, seaweed: S3Service) -> None:
    def store() -> S3Store:
        return S3Store(f"{faulty_s3.uri}/run", faulty_s3.settings, retry=QUICK)

    for last in (11, 26, 41):
        with open_log(store(), f"to-{last}") as writer:
            Trainer(writer).train(last, flush_every=3)
    assert sum(count for fate, count in faulty_proxy.counts.items() if fate != "served") > 20
    report = verify(store())
    assert (report.problems, report.notes, report.digest) == ([], [], bank_digest(41))
    direct = open_store(f"{seaweed.uri}/run", seaweed.settings)
    assert verify(direct).digest == report.digest
