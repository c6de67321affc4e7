"""A shared library from a C++ source of this folder, compiled on first use for the very CPU that runs it.

The compiler is the one that vLLM on CPU needs anyway. A library is code that this process will run: it is kept in a
folder that nobody else can write, and where there is none such, it is compiled into a private one that is gone once
the library is loaded.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

FLAGS = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-w")
_SECONDS = 120
_PRIVATE = 0o700


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the CPU can do, as Linux tells it on x86: words between spaces. Empty elsewhere."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("flags")), "")


def load(source: Path) -> ctypes.CDLL:
    """The library of a source and of the headers beside it. Raises OSError or subprocess.SubprocessError."""
    compiler = _compiler()
    name = f"{source.stem}-{_key(source, compiler)}.so"
    try:
        library = _cache_folder() / name
        if not library.exists():
            _compile(compiler, source, library)
        return ctypes.CDLL(str(library))
    except OSError:  # read-only, not private, or not to be executed from
        with tempfile.TemporaryDirectory() as folder:  # of mode 0700; what is mapped stays when the name is gone
            library = Path(folder) / name
            _compile(compiler, source, library)
            return ctypes.CDLL(str(library))


def _compiler() -> str:
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (found := shutil.which(name)):
            return found
    raise FileNotFoundError("no C++ compiler on the PATH")


def _key(source: Path, compiler: str) -> str:
    """Differs wherever the library could: its text, the compiler, what -march=native means."""
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, timeout=_SECONDS).stdout  # noqa: S603 - no shell
    texts = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h")))]
    parts = [*texts, compiler.encode(), version, " ".join(FLAGS).encode(), cpu_flags().encode()]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]


def _cache_folder() -> Path:
    """This user's folder for libraries. Raises OSError where it cannot be, or is not private."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME", "") + "/.cache")
    if not base.is_absolute():
        raise FileNotFoundError("no cache folder")
    folder = base / "zofinetune" / "native"
    folder.parent.mkdir(_PRIVATE, parents=True, exist_ok=True)
    folder.mkdir(_PRIVATE, exist_ok=True)
    for path in (folder.parent, folder):
        found = path.lstat()
        writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or writable:
            raise PermissionError(f"{path} is not private")
    return folder


def _compile(compiler: str, source: Path, library: Path) -> None:
    """Write the library in one piece, for several processes may start at once."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        subprocess.run(  # noqa: S603 - no shell, and no text from outside
            [compiler, *FLAGS, str(source), "-o", str(made)],
            check=True,
            capture_output=True,
            timeout=_SECONDS,
            env=os.environ | {"TMPDIR": folder},  # the compiler's own files: /tmp may be read-only
        )
        made.chmod(0o500)
        made.replace(library)
