"""Libraries compiled on first use: kept where only this user writes, made elsewhere where there is no such place."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from zo_runtime.vllm_ext.native import compiled, fused_lora

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="no compiler")

ANSWER = 'extern "C" int answer() { return 42; }'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "text" / "answer.cpp"
    path.parent.mkdir()
    path.write_text(ANSWER)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "zofinetune" / "native"


def answer(library: ctypes.CDLL) -> int:
    return int(library.answer())


def test_it_is_compiled_once_for_this_user_alone(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(compiled.load(source)) == 42
    (library,) = cache.iterdir()
    assert cache.stat().st_mode & 0o777 == 0o700
    assert library.stat().st_mode & 0o777 == 0o500
    monkeypatch.setattr(compiled, "_compile", lambda *_: pytest.fail("compiled again"))
    assert answer(compiled.load(source)) == 42


@pytest.mark.parametrize("changed", ["answer.cpp", "part.h"])
def test_another_text_is_another_library(source: Path, cache: Path, changed: str) -> None:
    compiled.load(source)
    source.with_name(changed).write_text(ANSWER.replace("42", "43"))
    compiled.load(source)
    assert len(list(cache.iterdir())) == 2


def test_many_at_once_find_whole_libraries(source: Path, cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert [answer(library) for library in pool.map(compiled.load, [source] * 8)] == [42] * 8
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_write_is_not_trusted(source: Path, cache: Path, mode: int) -> None:
    compiled.load(source)
    (library,) = cache.iterdir()
    library.unlink()
    library.write_bytes(b"not from this user")
    cache.chmod(mode)
    assert answer(compiled.load(source)) == 42
    assert library.read_bytes() == b"not from this user"


def test_a_link_in_place_of_the_folder_is_not_followed(source: Path, cache: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o700)
    cache.parent.mkdir(0o700, parents=True)
    cache.symlink_to(elsewhere)
    assert answer(compiled.load(source)) == 42
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("base", ["/proc/zofinetune", "relative"])
def test_without_a_cache_folder_nothing_stays(
    source: Path, tmp_path: Path, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setenv("XDG_CACHE_HOME", base)
    assert answer(compiled.load(source)) == 42
    assert not list(scratch.iterdir())


def test_a_text_that_does_not_compile_is_an_error(source: Path, cache: Path) -> None:
    source.write_text("no C++")
    with pytest.raises(subprocess.CalledProcessError):
        compiled.load(source)
    assert not list(cache.iterdir())


def test_flags_of_a_cpu(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu avx512_bf16\n\nprocessor\t: 1\nflags\t: fpu\n")
    assert compiled.cpu_flags(tmp_path / "cpuinfo") == "fpu avx512_bf16"
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: bf16\n")
    assert compiled.cpu_flags(tmp_path / "cpuinfo") == ""
    assert compiled.cpu_flags(tmp_path / "none") == ""


@pytest.mark.parametrize("broken", ["no compiler", "a failing compiler"])
def test_without_a_compiler_torch_serves_and_one_line_says_so(
    broken: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fused_lora, "cpu_flags", lambda: "avx512_bf16 avx512bw avx512dq")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if broken == "a failing compiler":
        (tmp_path / "c++").symlink_to("/bin/false")
    monkeypatch.setattr(fused_lora.log, "propagate", True)
    fused_lora._function.cache_clear()
    try:
        assert fused_lora.fused_lora(torch.bfloat16, None) is None
        assert fused_lora.fused_lora(torch.bfloat16, (0, 1)) is None
    finally:
        fused_lora._function.cache_clear()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_another_cpu_keeps_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_lora, "cpu_flags", lambda: "fpu avx2")
    monkeypatch.setattr(fused_lora, "load", lambda _: pytest.fail("compiled"))
    fused_lora._function.cache_clear()
    try:
        assert fused_lora.fused_lora(torch.bfloat16, None) is None
    finally:
        fused_lora._function.cache_clear()
