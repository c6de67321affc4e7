"""The cache: verified before use, whole after a kill at any moment, bounded, safe between processes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zo_runtime.errors import StorageError
from zo_runtime.serving.cache import AdapterCache, Hold
from zo_runtime.serving.manifest import Manifest

TESTS = Path(__file__).parents[2]
MANIFEST = Manifest(
    run="0" * 64, base_model="m", base_digest="d", version=1, step=3, digest="1" * 64, rank=4, modules=("q_proj",)
)


def fill(folder: Path, size: int = 1000) -> Manifest:
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(os.urandom(size))
    (folder / "adapter_config.json").write_text("{}")
    return MANIFEST


def put(cache: AdapterCache, key: str, size: int = 1000) -> Path:
    with cache.lock():
        return cache.put(key, lambda folder: fill(folder, size)).path


def test_what_was_put_is_found(tmp_path: Path) -> None:
    cache = AdapterCache(tmp_path / "cache")
    path = put(cache, "a")
    entry = cache.find("a")
    assert entry is not None
    assert (entry.path, entry.manifest.step, set(entry.manifest.files)) == (
        path,
        3,
        {"adapter_model.safetensors", "adapter_config.json"},
    )
    assert cache.find("b") is None


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "manifest.json"])
def test_a_changed_file_is_never_used_and_makes_way(tmp_path: Path, name: str) -> None:
    cache = AdapterCache(tmp_path / "cache")
    path = put(cache, "a")
    for damage in (lambda p: p.write_bytes(p.read_bytes()[:-2]), lambda p: p.unlink()):
        damage(path / name)
        assert cache.find("a") is None
        put(cache, "a")
        assert cache.find("a") is not None


def test_an_adapter_under_another_name_is_not_used(tmp_path: Path) -> None:
    cache = AdapterCache(tmp_path / "cache")
    put(cache, "a").rename(cache.path("b"))
    assert cache.find("b") is None


def test_what_was_used_longest_ago_goes_first_and_what_is_held_stays(tmp_path: Path) -> None:
    cache = AdapterCache(tmp_path / "cache")
    for age, key in enumerate("dcba"):
        os.utime(put(cache, key), (0, 1_000 - age))
    cache.snapshots.mkdir()
    (cache.snapshots / "s").write_bytes(bytes(1000))
    os.utime(cache.snapshots / "s", (0, 0))
    hold = Hold.take(cache.path("a"))
    assert hold is not None
    with cache.lock():
        cache.shrink(4_700, keep="b")
    assert sorted(p.name for p in (tmp_path / "cache" / "adapters").iterdir()) == ["a", "b", "d"]
    assert not list(cache.snapshots.iterdir())
    hold.release()
    with cache.lock():
        cache.shrink(0, keep="b")
    assert [p.name for p in (tmp_path / "cache" / "adapters").iterdir()] == ["b"]
    assert Hold.take(cache.path("a")) is None


def test_a_claim_of_a_dead_process_is_none(tmp_path: Path) -> None:
    cache = AdapterCache(tmp_path / "cache")
    put(cache, "a")
    program = (
        "import sys, time, pathlib; from zo_runtime.serving.cache import Hold\n"
        "hold = Hold.take(pathlib.Path(sys.argv[1])); print(hold is not None, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(cache.path("a"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with cache.lock():
            cache.shrink(0, keep="")
        assert cache.find("a") is not None
        process.kill()
        process.wait()
    with cache.lock():
        cache.shrink(0, keep="")
    assert cache.find("a") is None


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match=r"file.*: a part of the path is a file"),
        AdapterCache(tmp_path / "file").lock(),
    ):
        pass


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from unit_cache_writer import fill
from zo_runtime.serving.cache import AdapterCache
cache = AdapterCache(Path(sys.argv[1]))
print("ready", flush=True)
for i in range(10**9):
    with cache.lock():
        cache.put(f"k{i % 3}", fill)
        cache.shrink(600_000, keep=f"k{i % 3}")
"""
WRITER = """
import os
from zo_runtime.serving.manifest import Manifest
def fill(folder):
    folder.mkdir()
    data = os.urandom(200_000)
    (folder / "adapter_model.safetensors").write_bytes(data)
    (folder / "adapter_config.json").write_bytes(data[:7])
    return Manifest(
        run="0" * 64, base_model="m", base_digest="d", version=1, step=3, digest="1" * 64, rank=4, modules=()
    )
"""


def test_kills_at_random_moments_leave_no_half_adapter(tmp_path: Path) -> None:
    """Two writers share the cache; whatever lies under an adapter's name is whole, at any time."""
    rng = random.Random(3)
    (tmp_path / "unit_cache_writer.py").write_text(WRITER)
    root = tmp_path / "cache"
    command = [sys.executable, "-c", PROGRAM, str(root), str(tmp_path)]
    found = 0
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for _ in range(12):
            victim = writers.pop(0)
            assert victim.stdout is not None
            assert victim.stdout.readline() == b"ready\n"
            deadline = time.monotonic() + rng.uniform(0.0, 0.3)
            while time.monotonic() < deadline:
                found += _look(root)
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
            writers.append(subprocess.Popen(command, stdout=subprocess.PIPE))
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert found > 0
    with AdapterCache(root).lock():
        assert not (root / "building").exists()
    for path in (root / "adapters").iterdir():
        assert AdapterCache(root).find(path.name) is not None


def _look(root: Path) -> int:
    """Every adapter that can be claimed is whole for as long as it is claimed, or replaced as a whole."""
    found = 0
    for key in ("k0", "k1", "k2"):
        hold = Hold.take(AdapterCache(root).path(key))
        if hold is not None:
            found += AdapterCache(root).find(key) is not None
            hold.release()
    return found
