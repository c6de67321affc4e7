"""Prometheus and its promtool for the tests: this machine's, or Debian's, unpacked into `.cache/bin/`.

No Python package carries them. On Debian and its kin apt fetches the package, and it is unpacked without being
installed, which needs no rights. Elsewhere both programs have to be in PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "bin"
PACKAGE = "prometheus"
NAMES = ("prometheus", "promtool")


def binary(name: str) -> Path:
    """Path of `prometheus` or `promtool`: that of PATH, else the one in the cache, fetched on first use."""
    if name not in NAMES:
        raise ValueError(f"binary {name!r} is not one of {', '.join(NAMES)}")
    if found := shutil.which(name):
        return Path(found)
    target = CACHE / name
    if not target.exists():
        _unpack()
    return target


def _unpack() -> None:
    """Write both executables, each to a temporary name first, so that parallel callers never see a part."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        sys.exit("the tests need `prometheus` and `promtool` in PATH: install Prometheus 2.42 or later")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        folder = Path(name)
        package = _download(folder)
        subprocess.run(["dpkg-deb", "--extract", package, folder / "files"], check=True)
        for program in NAMES:
            (folder / "files" / "usr" / "bin" / program).replace(CACHE / program)


def _download(folder: Path) -> Path:
    """Have apt fetch the package, with this machine's lists or, where it has none, with lists of our own."""
    lists, cache = folder / "lists", folder / "archives"
    own = [f"--option=Dir::State::Lists={lists}", f"--option=Dir::Cache={cache}"]
    for each in (lists / "partial", cache / "archives" / "partial"):
        each.mkdir(parents=True)
    if not _apt([], ["download", PACKAGE], folder):
        _apt(own, ["update"], folder)
        if not _apt(own, ["download", PACKAGE], folder):
            sys.exit(f"apt-get cannot download {PACKAGE}: install it, or put `prometheus` and `promtool` in PATH")
    (package,) = folder.glob(f"{PACKAGE}_*.deb")
    return package


def _apt(options: list[str], verb: list[str], folder: Path) -> bool:
    # Root fetches as a user of apt's own, who may not write here; the signature is checked all the same.
    user = ["--option=APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    done = subprocess.run(
        ["apt-get", "--quiet=2", *user, *options, *verb], cwd=folder, capture_output=True, check=False
    )
    return done.returncode == 0


def main() -> None:
    """Become promtool with the arguments of the command line."""
    promtool = binary("promtool")
    os.execv(promtool, [str(promtool), *sys.argv[1:]])


if __name__ == "__main__":
    main()
