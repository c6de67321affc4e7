"""From a target to a verified adapter on the disk: chain, base model, replay, export. No engine, no event loop."""

from __future__ import annotations

import os
from pathlib import Path

from zo_runtime.adapter.export import export_peft
from zo_runtime.adapter.replay import replay_version
from zo_runtime.deltalog.chain import Link
from zo_runtime.deltalog.pinned import PinnedVersion
from zo_runtime.errors import LogCorrupt, LogMismatch
from zo_runtime.serving.base_model import base_digest, require_base
from zo_runtime.serving.cache import AdapterCache, Entry
from zo_runtime.serving.manifest import Manifest, adapter_key
from zo_runtime.serving.wire import BuildRequest, Built
from zo_runtime.storage.open import open_store


class AdapterFactory:
    """Builds adapters one after another; what it has verified of a log's chain it need not fetch again."""

    def __init__(self, threads: int):
        self._threads = threads
        self._links: dict[str, tuple[Link, ...]] = {}

    def build(self, request: BuildRequest) -> Built:
        """Find the adapter in the cache or build it. Raise any `ZOError`; the cache is as it was then.

        An adapter of the cache needs no object storage: its key holds the version's hash, and its manifest the base
        model's digest.
        """
        cache = AdapterCache(request.cache)
        key = adapter_key(request.target, request.dtype)
        with cache.lock():
            base = base_digest(request.model, request.revision, cache.root / "base-digests.json")
            entry = cache.find(key)
            if entry is None:
                entry = self._make(request, cache, key, base)
                cache.shrink(request.cache_bytes, keep=key)
            elif entry.manifest.base_digest != base:
                # Another server with the same cache has another base model; the log says it in full words.
                require_base(self._open(request).run.model, base, request.model, request.uri)
        return Built(path=entry.path, manifest=entry.manifest)

    def _open(self, request: BuildRequest) -> PinnedVersion:
        store, target = open_store(request.uri, request.s3), request.target
        known = self._links.pop(request.uri, ())
        try:
            log = PinnedVersion(store, target.version, target.sha256, known)
        except (LogCorrupt, LogMismatch):
            if not known:
                raise
            log = PinnedVersion(store, target.version, target.sha256)  # the log may be another one by now
        self._links[request.uri] = max(known, log.links, key=len)
        return log

    def _make(self, request: BuildRequest, cache: AdapterCache, key: str, base: str) -> Entry:
        log = self._open(request)
        require_base(log.run.model, base, request.model, request.uri)
        log.require_step(request.target.step)
        bank = replay_version(log, step=request.target.step, snapshot_dir=cache.snapshots, threads=self._threads)

        def write(folder: Path) -> Manifest:
            info = export_peft(bank, log.run, folder, request.dtype)
            return Manifest(
                run=info.run_sha256,
                base_model=log.run.model.name,
                base_digest=log.run.model.digest,
                version=request.target.version,
                step=info.step,
                digest=info.digest,
                rank=info.rank,
                modules=tuple(sorted({t.name.rsplit(".", 1)[-1] for t in bank.layout.tensors})),
            )

        return cache.put(key, write)


def polite_threads() -> int:
    """Threads for a replay that must not disturb an engine: a quarter of the cores, at least one."""
    return max(1, len(os.sched_getaffinity(0)) // 4)
