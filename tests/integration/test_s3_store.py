"""The S3 store against a real server: the promises, the refusals, and a thousand operations through faults."""

from __future__ import annotations

import itertools
import random
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.certificates import write_certificate
from fixtures.faulty import FAULTS, FaultyProxy, running_proxy
from fixtures.seaweed import (
    STRANGER_ACCESS_KEY,
    STRANGER_SECRET_KEY,
    S3Service,
    free_ports,
    set_credentials,
)
from fixtures.store_contract import StoreContract, race
from zo_runtime.config.storage import S3
from zo_runtime.errors import InvalidSpec, StorageDenied, StorageError
from zo_runtime.storage.open import open_store
from zo_runtime.storage.protocol import NotFound, ObjectStore, PreconditionFailed
from zo_runtime.storage.retry import Retry
from zo_runtime.storage.s3 import S3Store

pytestmark = pytest.mark.s3

# Pauses for tests: as many attempts, a hundredth of the waiting.
QUICK = Retry(first_pause=0.001, longest_pause=0.1)


def quick(service: S3Service, prefix: str = "a/prefix") -> S3Store:
    return S3Store(f"{service.uri}/{prefix}", service.settings, retry=QUICK)


class TestS3Store(StoreContract):
    @pytest.fixture
    def store(self, seaweed: S3Service) -> ObjectStore:
        return open_store(f"{seaweed.uri}/a/prefix", seaweed.settings)


class TestS3StoreThroughFaults(StoreContract):
    """The same promises while one request in five fails."""

    @pytest.fixture
    def store(self, faulty_s3: S3Service) -> ObjectStore:
        return quick(faulty_s3)


def test_stays_below_its_prefix(seaweed: S3Service) -> None:
    store, sibling, whole = (S3Store(f"{seaweed.uri}{path}", seaweed.settings) for path in ("/a/", "/ab", ""))
    store.put("key", b"one")
    sibling.put("key", b"two")
    assert [info.key for info in store.list()] == ["key"]
    assert [info.key for info in whole.list()] == ["a/key", "ab/key"]
    assert (store.uri, whole.uri) == (f"{seaweed.uri}/a", seaweed.uri)


def test_lists_more_than_one_page(seaweed: S3Service) -> None:
    client = seaweed.client()
    keys = sorted(f"a/{number}{end}" for number in range(550) for end in ("", "-x"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: client.put_object(Bucket=seaweed.bucket, Key=key, Body=b"x"), keys))
    client.put_object(Bucket=seaweed.bucket, Key="a/folder-marker/", Body=b"")
    store = S3Store(seaweed.uri, seaweed.settings)
    assert [info.key for info in store.list("a/")] == keys


def test_many_reads_at_a_time(seaweed: S3Service) -> None:
    store = quick(seaweed)
    bodies = {f"{number}": random.Random(number).randbytes(20_000) for number in range(64)}
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda item: store.put(*item), bodies.items()))
        read = dict(zip(bodies, pool.map(lambda key: store.get(key)[0], bodies), strict=True))
    assert read == bodies


# --- faults ----------------------------------------------------------------------------------------------------


def test_a_thousand_operations_through_faults(faulty_s3: S3Service, faulty_proxy: FaultyProxy) -> None:
    """Each thread owns its keys, so that the end of every one of them is known."""

    def work(thread: int) -> dict[str, bytes]:
        store, chance = quick(faulty_s3, f"thread/{thread}"), random.Random(thread)
        kept: dict[str, bytes] = {}
        etags: dict[str, str] = {}
        for number in range(125):
            key, data = f"object-{chance.randrange(8)}", b"%d:" % number + chance.randbytes(chance.randrange(5000))
            match chance.choice(["put", "create", "swap", "stale", "delete", "get", "list"]):
                case "put":
                    etags[key] = store.put(key, data)
                    kept[key] = data
                case "create" if key in kept:
                    with pytest.raises(PreconditionFailed):
                        store.put(key, data, if_absent=True)
                case "create":
                    etags[key] = store.put(key, data, if_absent=True)
                    kept[key] = data
                case "swap" if key in kept:
                    etags[key] = store.put(key, data, if_match=etags[key])
                    kept[key] = data
                case "stale":
                    with pytest.raises(PreconditionFailed):
                        store.put(key, data, if_match='"00000000000000000000000000000000"')
                case "delete":
                    store.delete(key)
                    kept.pop(key, None)
                case "list":
                    found = {info.key: (info.size, info.etag) for info in store.list()}
                    assert found == {key: (len(body), etags[key]) for key, body in kept.items()}
                case _ if key in kept:
                    assert store.get(key) == (kept[key], etags[key])
                case _:
                    with pytest.raises(NotFound):
                        store.get(key)
        return kept

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(work, range(8)))
    faulty_proxy.rate = 0.0
    for thread, kept in enumerate(ends):
        store = quick(faulty_s3, f"thread/{thread}")
        assert {info.key: store.get(info.key)[0] for info in store.list()} == kept
    assert all(faulty_proxy.counts[fault] > 10 for fault in FAULTS), faulty_proxy.counts


def test_races_through_faults_have_one_winner(faulty_s3: S3Service) -> None:
    store = quick(faulty_s3)
    for round_ in range(5):
        key = f"race/{round_}"
        assert race(store, key, None) == [store.get(key)[0]]
        assert race(store, key, store.get(key)[1]) == [store.get(key)[0]]


@pytest.mark.parametrize("fault", ["lost", "cut"])
def test_a_write_whose_answer_was_lost_counts(faulty_s3: S3Service, faulty_proxy: FaultyProxy, fault: str) -> None:
    """The server did it, the client did not hear: the next attempt meets the object of the first."""
    store = quick(faulty_s3)
    fates = iter(["served", fault, "served", "served", fault, "served"])

    faulty_proxy.draw = lambda: next(fates, "served")  # type: ignore[method-assign]
    assert list(store.list()) == []
    etag = store.put("key", b"one", if_absent=True)
    second = store.put("key", b"two", if_match=etag)
    assert store.get("key") == (b"two", second)


def test_another_writers_equal_bytes_are_not_ours(faulty_s3: S3Service, faulty_proxy: FaultyProxy) -> None:
    fates = iter(["served", "reset"])
    faulty_proxy.draw = lambda: next(fates, "served")  # type: ignore[method-assign]
    quick(faulty_s3).put("key", b"same", if_absent=True)
    with pytest.raises(PreconditionFailed):
        quick(faulty_s3).put("key", b"same", if_absent=True)


def test_a_conflict_with_a_request_in_flight_is_tried_again(faulty_s3: S3Service, faulty_proxy: FaultyProxy) -> None:
    fates = iter(["conflict", "conflict"])
    faulty_proxy.draw = lambda: next(fates, "served")  # type: ignore[method-assign]
    store = quick(faulty_s3)
    etag = store.put("key", b"one", if_absent=True)
    assert store.get("key") == (b"one", etag)


def test_gives_up_in_the_end(faulty_s3: S3Service, faulty_proxy: FaultyProxy) -> None:
    store = quick(faulty_s3)
    faulty_proxy.rate, faulty_proxy.faults = 1.0, ("slow-down",)
    with pytest.raises(StorageError, match=r"keeps failing with SlowDown \(HTTP 503\); try again later") as caught:
        store.get("key")
    assert type(caught.value) is StorageError
    assert faulty_proxy.counts["slow-down"] == QUICK.attempts


# --- refusals --------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(seaweed: S3Service) -> Iterator[tuple[S3Service, FaultyProxy]]:
    """The server behind a proxy that only counts: a permanent refusal is not asked for twice."""
    with running_proxy(seaweed.endpoint, rate=0.0) as proxy:
        yield replace(seaweed, endpoint=proxy.endpoint), proxy


@pytest.mark.parametrize(
    ("access_key", "secret_key", "said"),
    [
        (None, None, "no usable credentials"),
        ("unknown-key", "topsecret", "does not know the access key; check AWS_ACCESS_KEY_ID"),
        ("test-access-key", "topsecret", "does not fit the access key; check AWS_SECRET_ACCESS_KEY"),
        (STRANGER_ACCESS_KEY, STRANGER_SECRET_KEY, "do not permit it; grant s3:GetObject"),
    ],
)
def test_bad_credentials(
    refused: tuple[S3Service, FaultyProxy],
    monkeypatch: pytest.MonkeyPatch,
    access_key: str | None,
    secret_key: str | None,
    said: str,
) -> None:
    service, proxy = refused
    set_credentials(monkeypatch, access_key, secret_key)
    store = S3Store(service.uri, service.settings)
    with pytest.raises(StorageDenied, match=said) as caught:
        store.get("key")
    assert service.uri in str(caught.value)
    assert "topsecret" not in str(caught.value) and STRANGER_SECRET_KEY not in str(caught.value)
    assert proxy.counts.total() <= 1


def test_no_bucket(refused: tuple[S3Service, FaultyProxy]) -> None:
    service, proxy = refused
    store = S3Store("s3://no-such-bucket/x", service.settings)
    for act in (lambda: store.get("key"), lambda: store.put("key", b""), lambda: list(store.list())):
        with pytest.raises(StorageDenied, match=r"s3://no-such-bucket/x.*: there is no such bucket; create it"):
            act()
    assert proxy.counts.total() == 3


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("http://127.0.0.1:{port}", "nothing listens at 127.0.0.1; check spec.storage.s3.endpoint"),
        ("http://user:topsecret@127.0.0.1:{port}", "at http://127.0.0.1:{port}: nothing listens"),
        ("http://no-such-host.invalid", "the host name no-such-host.invalid is not known"),
    ],
)
def test_unreachable_endpoints_fail_soon(seaweed: S3Service, endpoint: str, said: str) -> None:
    (port,) = free_ports(1)
    start = time.monotonic()
    with pytest.raises(StorageError, match=said.format(port=port)) as caught:
        S3Store(seaweed.uri, S3(endpoint=endpoint.format(port=port), path_style=True)).get("key")
    assert caught.value.retryable
    assert "topsecret" not in str(caught.value)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("uri", "s3", "said"),
    [
        ("s3://", S3(), "names no bucket"),
        ("s3://key:topsecret@bucket/x", S3(), "holds credentials"),
        ("gs://bucket/x", S3(), "gs:// is no storage"),
        ("s3://bucket/x", S3(endpoint="127.0.0.1:8333"), "spec.storage.s3.endpoint is no URL"),
        ("s3://bucket/x", S3(ca_file="/no/such.pem"), "spec.storage.s3.caFile: there is no file"),
    ],
)
def test_bad_settings(uri: str, s3: S3, said: str) -> None:
    with pytest.raises(InvalidSpec, match=said) as caught:
        open_store(uri, s3)
    assert "topsecret" not in str(caught.value)


def test_tls_needs_a_trusted_authority(seaweed: S3Service, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with running_proxy(seaweed.endpoint, rate=0.0, tls=tls) as proxy:
        service = replace(seaweed, endpoint=proxy.endpoint)
        with pytest.raises(StorageDenied, match=r"set spec\.storage\.s3\.caFile"):
            S3Store(service.uri, service.settings).put("key", b"x")
        with pytest.raises(StorageDenied, match="caFile holds no certificate"):
            S3Store(service.uri, service.settings.model_copy(update={"ca_file": str(key)})).put("key", b"x")
        trusting = S3Store(service.uri, service.settings.model_copy(update={"ca_file": str(certificate)}))
        etag = trusting.put("key", b"x" * 100_000, if_absent=True)
        assert trusting.get("key") == (b"x" * 100_000, etag)


def test_an_endpoint_without_tls(seaweed: S3Service) -> None:
    settings = seaweed.settings.model_copy(update={"endpoint": seaweed.endpoint.replace("http:", "https:")})
    with pytest.raises(StorageDenied, match="does not speak TLS"):
        S3Store(seaweed.uri, settings).get("key")


def test_every_attempt_of_a_run_of_faults_is_spaced(faulty_s3: S3Service, faulty_proxy: FaultyProxy) -> None:
    pauses: list[float] = []
    store = S3Store(faulty_s3.uri, faulty_s3.settings, retry=replace(Retry(), sleep=pauses.append))
    faulty_proxy.rate, faulty_proxy.faults = 1.0, ("reset", "internal-error", "lost")
    with pytest.raises(StorageError):
        store.put("key", b"x")
    assert all(after > 0.5 * before for before, after in itertools.pairwise(pauses))
    assert 15 < sum(pauses) < 60, "patient enough for a restart of the service, and bounded"
