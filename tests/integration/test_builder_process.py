"""The process that builds adapters: real errors, killed, stopped in the middle, object storage away."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from fixtures.faulty import FaultyProxy
from fixtures.logs import bank_digest
from fixtures.serving import local_log, make_base, request, target, train
from zo_runtime.adapter.export import read_adapter
from zo_runtime.errors import LogCorrupt, LogMismatch, StorageError, ZOError
from zo_runtime.serving.builder import ProcessBuilder
from zo_runtime.serving.cache import AdapterCache
from zo_runtime.storage.open import open_store

pytestmark = pytest.mark.asyncio


async def test_builds_errors_and_a_killed_process(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    log = local_log(tmp_path / "log", base)
    cache = tmp_path / "cache"
    builder = ProcessBuilder(cache)
    first, second = target(log, 1), target(log, 2)
    try:
        built = await builder.build(request(log, first, base, cache))
        assert built.manifest.digest == bank_digest(10) == read_adapter(built.path).digest
        with pytest.raises(LogMismatch, match="set the target anew"):
            await builder.build(request(log, second.model_copy(update={"sha256": "0" * 64}), base, cache))
        log.delete("segments/000000011-000000020.parquet")
        with pytest.raises(LogCorrupt, match="is missing"):
            await builder.build(request(log, second, base, cache))
        assert builder._process is not None
        os.kill(builder._process.pid, signal.SIGKILL)
        await builder._process.wait()
        assert (await builder.build(request(log, first, base, cache))).path == built.path
        os.kill(builder._process.pid, signal.SIGSTOP)
        asked = asyncio.create_task(builder.build(request(log, first, base, cache)))
        await asyncio.sleep(0.1)
        os.kill(builder._process.pid, signal.SIGKILL)
        with pytest.raises(ZOError, match="ended with code -9"):
            await asked
        assert (await builder.build(request(log, first, base, cache))).path == built.path
    finally:
        await builder.close()


async def test_a_build_that_is_stopped_at_any_moment_harms_nothing(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    log = local_log(tmp_path / "log", base, steps=200)
    cache = tmp_path / "cache"
    builder = ProcessBuilder(cache)
    for version in range(1, 9):
        asked = asyncio.create_task(builder.build(request(log, target(log, version), base, cache)))
        await asyncio.wait({asked}, timeout=0.12 * version)
        asked.cancel()
        await asyncio.wait({asked})
        adapters = cache / "adapters"
        for path in adapters.iterdir() if adapters.is_dir() else ():
            assert AdapterCache(cache).find(path.name) is not None
    try:
        for version in range(1, 21):
            built = await builder.build(request(log, target(log, version), base, cache))
            assert built.manifest.digest == bank_digest(10 * version)
    finally:
        await builder.close()


@pytest.mark.s3
async def test_object_storage_that_is_away(tmp_path: Path, seaweed: Any) -> None:
    base = make_base(tmp_path / "base")
    proxy = FaultyProxy(seaweed.endpoint, 0.0, seed=1)
    proxy.faults = ("reset",)
    s3 = seaweed.settings.model_copy(update={"endpoint": proxy.endpoint})
    store = open_store(f"{seaweed.uri}/log", seaweed.settings)
    train(store, base, 20)
    builder = ProcessBuilder(tmp_path / "cache")
    import threading

    threading.Thread(target=proxy.serve_forever, daemon=True).start()

    def ask(version: int) -> Any:
        asked = request(store, target(store, version), base, tmp_path / "cache")
        return builder.build(asked.model_copy(update={"s3": s3}))

    try:
        assert (await ask(1)).manifest.digest == bank_digest(10)
        proxy.rate = 0.3
        assert (await ask(2)).manifest.digest == bank_digest(20)
        train(store, base, 30)
        proxy.shutdown()
        proxy.server_close()
        with pytest.raises(StorageError):
            await ask(3)
        assert (await ask(2)).manifest.digest == bank_digest(20)  # from the disk
    finally:
        await builder.close()
