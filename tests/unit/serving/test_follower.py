"""A replica follows its desired state: it switches, keeps what works when something fails, and recovers by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from fakes.engine import FakeEngine, ThreadBuilder
from fixtures.logs import bank_digest
from fixtures.serving import desire, local_log, make_base, target, train
from zo_runtime.serving.contract import Canary, ServedAdapter
from zo_runtime.serving.engine import Slot
from zo_runtime.serving.follower import Follower
from zo_runtime.serving.manifest import version_label
from zo_runtime.serving.metrics import ServingMetrics
from zo_runtime.serving.plan import GRACE_SECONDS
from zo_runtime.serving.settings import ServingSettings

pytestmark = pytest.mark.asyncio


@dataclass
class Replica:
    """A follower whose clock moves by hand."""

    folder: Path
    base: Path
    cache_bytes: int = 10**8
    slots: int = 4
    pod: str = "pod-a"
    now: float = 1000.0
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.desired = self.folder / "desired"
        self.engine, self.builder = FakeEngine(self.base, self.slots), ThreadBuilder()
        settings = ServingSettings(self.desired, self.folder / "cache", self.cache_bytes, self.pod)
        self.follower = Follower(
            settings, self.engine, self.builder, ServingMetrics(self.registry), clock=lambda: self.now
        )

    async def settle(self, seconds: float = 0.0) -> ServedAdapter:
        """Let it work until nothing is under way, `seconds` later."""
        self.now += seconds
        for _ in range(500):
            await self.follower.tick()
            answer = self.answer()
            if answer.state not in ("Pending", "Preparing"):
                return answer
            await asyncio.sleep(0.01)
        raise AssertionError(answer)

    def answer(self) -> ServedAdapter:
        (answer,) = self.follower.answer().adapters
        return answer

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"model_name": "clinic", **labels})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_base(tmp_path / "base")


@pytest.fixture
def replica(tmp_path: Path, base: Path) -> Replica:
    return Replica(tmp_path, base)


def summary(answer: ServedAdapter) -> tuple[Any, ...]:
    return answer.state, answer.version, answer.step, answer.digest


async def test_it_serves_what_is_desired_and_switches(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    assert replica.follower.answer().adapters == ()
    await replica.follower.tick()
    assert replica.follower.settled.is_set()
    for version, step in ((1, 10), (2, 20), (3, 30)):
        desire(replica.desired, log, target(log, version))
        answer = await replica.settle()
        assert summary(answer) == ("Serving", version, step, bank_digest(step))
        assert (answer.uri, answer.last_error) == (log.uri, None)
        assert replica.metric("zo_serving_version") == version
        assert replica.metric("zo_serving_step") == step
        assert replica.metric("zo_serving_converged") == 1
    assert replica.metric("zo_serving_swaps_total") == 3
    assert len(replica.engine.loaded) == 3
    await replica.settle(GRACE_SECONDS)
    assert list(replica.engine.loaded.values()) == [replica.engine.names["clinic"].path]
    assert replica.metric("zo_serving_desired_state_age_seconds") == GRACE_SECONDS


async def test_back_to_any_step(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    for step in (30, 7, 0, 25):
        desire(replica.desired, log, target(log, 3, step))
        assert summary(await replica.settle(GRACE_SECONDS)) == ("Serving", 3, step, bank_digest(step))
    desire(replica.desired, log, target(log, 1))
    assert summary(await replica.settle(GRACE_SECONDS)) == ("Serving", 1, 10, bank_digest(10))
    desire(replica.desired, log, target(log, 2, 21))
    answer = await replica.settle()
    assert summary(answer) == ("Failed", 1, 10, bank_digest(10))
    assert answer.last_error is not None
    assert (answer.last_error.reason, "has no step 21" in answer.last_error.message) == ("InvalidSpec", True)


async def test_a_version_is_unloaded_once_its_last_request_has_ended(
    replica: Replica, base: Path, tmp_path: Path
) -> None:
    log = local_log(tmp_path / "log", base)
    desire(replica.desired, log, target(log, 1))
    await replica.settle()
    old = replica.engine.names["clinic"].number
    replica.engine.requests[old] = 2
    desire(replica.desired, log, target(log, 2))
    await replica.settle()
    for _ in range(3):
        await replica.settle(100.0)
        assert old in replica.engine.loaded
    replica.engine.requests[old] = 0
    await replica.settle(0.1)
    await replica.settle(GRACE_SECONDS / 2)
    assert old in replica.engine.loaded
    await replica.settle(GRACE_SECONDS / 2)
    assert old not in replica.engine.loaded


async def test_the_way_back_while_the_old_version_drains_builds_nothing(
    replica: Replica, base: Path, tmp_path: Path
) -> None:
    log = local_log(tmp_path / "log", base)
    for version in (1, 2):
        desire(replica.desired, log, target(log, version))
        await replica.settle()
    loaded = dict(replica.engine.loaded)
    desire(replica.desired, log, target(log, 1))
    assert (await replica.settle()).version == 1
    assert (replica.builder.calls, replica.engine.loaded) == (2, loaded)
    await replica.settle(GRACE_SECONDS)
    assert len(replica.engine.loaded) == 1


def tamper(path: Path) -> Callable[[], None]:
    """Flip a bit; returns what mends it."""
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    return lambda: path.write_bytes(data) and None


def remove(path: Path) -> Callable[[], None]:
    data = path.read_bytes()
    path.unlink()
    return lambda: path.write_bytes(data) and None


def swap_base(path: Path) -> Callable[[], None]:
    (path / "model.safetensors").write_text("other weights")
    return lambda: (path / "model.safetensors").write_text("weights") and None


SEGMENT = "log/segments/000000011-000000020.parquet"


@pytest.mark.parametrize(
    ("break_it", "where", "reason", "words"),
    [
        (tamper, SEGMENT, "LogCorrupt", "does not have the bytes"),
        (remove, SEGMENT, "LogCorrupt", "is missing"),
        (tamper, "log/versions/2.json", "LogCorrupt", "versions/2.json"),
        (remove, "log/versions/2.json", "LogCorrupt", "versions/2.json is missing"),
        (tamper, "log/run.json", "LogCorrupt", "run.json"),
        (swap_base, "base", "LogMismatch", "adapts the base model tiny with the digest"),
    ],
)
async def test_what_does_not_verify_is_refused_and_taken_once_it_is_mended(
    replica: Replica, base: Path, tmp_path: Path, break_it: Any, where: str, reason: str, words: str
) -> None:
    log = local_log(tmp_path / "log", base)
    desire(replica.desired, log, target(log, 1))
    await replica.settle()
    wanted = target(log, 2)
    mend = break_it(tmp_path / where)
    desire(replica.desired, log, wanted)
    answer = await replica.settle()
    assert summary(answer) == ("Failed", 1, 10, bank_digest(10))
    assert answer.last_error is not None
    assert answer.last_error.reason == reason
    assert words in answer.last_error.message
    assert answer.target is not None
    assert answer.target.version == 2
    assert replica.metric("zo_serving_failures_total", reason=reason) == 1
    assert replica.metric("zo_serving_converged") == 0
    await replica.settle(0.5)
    assert replica.builder.calls == 2  # not before its time
    mend()
    await replica.settle(60.0)
    for _ in range(200):
        await asyncio.sleep(0.01)
        if (answer := await replica.settle()).state == "Serving":
            break
    assert summary(answer) == ("Serving", 2, 20, bank_digest(20))
    assert answer.last_error is None


async def test_the_log_of_another_run_is_refused(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    other = local_log(tmp_path / "other", base, name="other")
    desire(replica.desired, log, target(log, 1))
    await replica.settle()
    desire(replica.desired, other, target(log, 2))
    answer = await replica.settle()
    assert (answer.state, answer.version, answer.uri) == ("Failed", 1, log.uri)
    assert answer.last_error is not None
    assert answer.last_error.reason == "LogMismatch"
    desire(replica.desired, other, target(other, 2))
    assert (await replica.settle()).uri == other.uri


async def test_the_engine_fails_once(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    desire(replica.desired, log, target(log, 1))
    await replica.settle()
    replica.engine.failures.append("out of memory")
    desire(replica.desired, log, target(log, 2))
    answer = await replica.settle()
    assert (answer.state, answer.version) == ("Failed", 1)
    assert answer.last_error is not None
    assert answer.last_error.reason == "EngineFailed"
    replica.now += 2
    while (answer := await replica.settle()).state != "Serving":
        await asyncio.sleep(0.01)
    assert answer.version == 2


async def test_a_name_that_is_taken_is_left_alone(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    replica.engine.names["clinic"] = mine = Slot(7, tmp_path / "mine")
    desire(replica.desired, log, target(log, 1))
    answer = await replica.settle()
    assert (answer.state, answer.version) == ("Failed", None)
    assert answer.last_error is not None
    assert "the model name clinic belongs to the LoRA adapter in" in answer.last_error.message
    assert replica.engine.names["clinic"] == mine
    assert replica.engine.loaded == {}


async def test_a_broken_file_changes_nothing(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    desire(replica.desired, log, target(log, 1))
    await replica.settle()
    (replica.desired / "clinic.json").write_text('{"formatVersion": 1, "nam')
    for _ in range(3):
        answer = await replica.settle()
    assert (answer.state, answer.version) == ("Failed", 1)
    assert answer.last_error is not None
    assert answer.last_error.message == "clinic.json: this is not JSON: write the desired state anew"
    assert replica.metric("zo_serving_failures_total", reason="InvalidSpec") == 1
    (replica.desired / "other.json").write_text((tmp_path / "desired" / "clinic.json").read_text())
    desire(replica.desired, log, target(log, 2))
    await replica.follower.tick()
    assert {a.name: a.state for a in replica.follower.answer().adapters}["other"] == "Failed"
    (replica.desired / "other.json").unlink()
    assert summary(await replica.settle())[:2] == ("Serving", 2)


async def test_a_folder_that_cannot_be_read_changes_nothing(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    desire(replica.desired, log, target(log, 1))
    await replica.settle()
    replica.desired.rename(tmp_path / "away")
    replica.desired.write_text("not a folder")
    assert summary(await replica.settle())[:2] == ("Serving", 1)
    replica.desired.unlink()
    (tmp_path / "away").rename(replica.desired)
    desire(replica.desired, log, target(log, 2))
    assert summary(await replica.settle())[:2] == ("Serving", 2)


async def test_what_concerns_others_does_not_hurry_a_repetition(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    mend = remove(tmp_path / SEGMENT)
    desire(replica.desired, log, target(log, 2))
    failed = await replica.settle()
    desire(replica.desired, log, target(log, 2), Canary(target=target(log, 1), members=("another",)))
    assert await replica.settle() == failed
    mend()
    desire(replica.desired, log, target(log, 1))
    assert (await replica.settle()).version == 1
    desire(replica.desired, log, target(log, 2))
    assert (await replica.settle()).version == 2


async def test_a_name_that_is_no_longer_desired_stays_served(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    desire(replica.desired, log, target(log, 1))
    await replica.settle()
    (replica.desired / "clinic.json").unlink()
    answer = await replica.settle(1000.0)
    assert (answer.state, answer.version, answer.target) == ("Orphaned", 1, None)
    desire(replica.desired, log, target(log, 2))
    assert (await replica.settle()).version == 2


async def test_another_wish_stops_the_build_under_way(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    replica.builder.gate.clear()
    desire(replica.desired, log, target(log, 1))
    await replica.follower.tick()
    assert replica.answer().state == "Preparing"
    await asyncio.sleep(0)
    desire(replica.desired, log, target(log, 2))
    await replica.follower.tick()
    replica.builder.gate.set()
    assert (await replica.settle()).version == 2
    assert replica.engine.log == [version_label(target(log, 2))]


async def test_only_members_serve_the_canary(base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    first, second = Replica(tmp_path, base, pod="pod-a"), Replica(tmp_path, base, pod="pod-b")
    desire(first.desired, log, target(log, 1), Canary(target=target(log, 2), members=("pod-b",)))
    assert [(await each.settle()).version for each in (first, second)] == [1, 2]
    desire(first.desired, log, target(log, 2))
    assert [(await each.settle()).version for each in (first, second)] == [2, 2]
    assert second.engine.log == [version_label(target(log, 2))]


async def test_the_resolver_and_the_follower_build_once(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    desire(replica.desired, log, target(log, 1))
    replica.builder.gate.clear()
    asked = [asyncio.create_task(replica.follower.resolve("clinic")) for _ in range(3)]
    await replica.follower.tick()
    await asyncio.sleep(0.05)
    replica.builder.gate.set()
    adapters = await asyncio.gather(*asked)
    assert replica.builder.calls == 1
    assert {a.path for a in adapters if a is not None} == {adapters[0].path}
    # vLLM loads what its resolver got, under a number of its own, before the follower comes to it.
    replica.engine.names["clinic"] = Slot(1, adapters[0].path)
    replica.engine.loaded[1] = adapters[0].path
    answer = await replica.settle()
    assert (answer.state, answer.version, replica.engine.log) == ("Serving", 1, [])
    assert (await replica.follower.resolve("clinic")) == adapters[0]
    assert await replica.follower.resolve("nobody") is None
    desire(replica.desired, log, target(log, 2))
    await replica.settle()
    await replica.settle(GRACE_SECONDS)
    assert 1 not in replica.engine.loaded


async def test_the_resolver_says_no_while_the_version_cannot_be_had(
    replica: Replica, base: Path, tmp_path: Path
) -> None:
    log = local_log(tmp_path / "log", base)
    desire(replica.desired, log, target(log, 1))
    remove(tmp_path / "log" / "versions" / "1.json")
    assert await replica.follower.resolve("clinic") is None
    assert await replica.follower.resolve("clinic") is None
    assert replica.builder.calls == 1


async def test_a_restarted_replica_needs_no_storage_for_what_it_had(base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    first = Replica(tmp_path, base)
    desire(first.desired, log, target(log, 3))
    await first.settle()
    (tmp_path / "log").rename(tmp_path / "away")
    again = Replica(tmp_path, base)
    assert summary(await again.settle()) == ("Serving", 3, 30, bank_digest(30))
    # But not for another base model.
    (base / "model.safetensors").write_text("other weights")
    answer = await Replica(tmp_path, base).settle()
    assert (answer.state, answer.version) == ("Failed", None)


async def test_a_small_cache_keeps_what_is_loaded(base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base, steps=60)
    replica = Replica(tmp_path, base, cache_bytes=1)
    for version in (1, 2, 3, 4, 5, 6):
        desire(replica.desired, log, target(log, version))
        await replica.settle(GRACE_SECONDS)
        for path in replica.engine.loaded.values():
            assert (path / "adapter_model.safetensors").is_file()
        assert len(list((tmp_path / "cache" / "adapters").iterdir())) <= 3


async def test_new_steps_only_are_replayed(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base, steps=20)
    desire(replica.desired, log, target(log, 2))
    await replica.settle()
    train(log, base, 30)
    for key in ("segments/000000001-000000010.parquet", "segments/000000011-000000020.parquet"):
        log.delete(key)
    desire(replica.desired, log, target(log, 3))
    assert summary(await replica.settle()) == ("Serving", 3, 30, bank_digest(30))


async def test_two_replicas_share_a_cache(base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    replicas = [Replica(tmp_path, base) for _ in range(2)]
    for version in (1, 2, 3):
        desire(tmp_path / "desired", log, target(log, version))
        answers = await asyncio.gather(*(replica.settle() for replica in replicas))
        assert {answer.digest for answer in answers} == {bank_digest(10 * version)}


async def test_run_goes_on_until_it_is_cancelled(replica: Replica, base: Path, tmp_path: Path) -> None:
    log = local_log(tmp_path / "log", base)
    running = asyncio.create_task(replica.follower.run())
    desire(replica.desired, log, target(log, 1))
    await asyncio.wait_for(replica.follower.settled.wait(), 20)
    while replica.answer().state != "Serving":
        await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
