"""The exact versions that the operator's image installs: `python -m tools.pins` writes `requirements/operator.txt`
from what is installed here, after a test run on just these versions."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "requirements" / "operator.txt"
HEAD = "# Versions of the operator's image; written by `python -m tools.pins`.\n"


def roots() -> list[Requirement]:
    """What `pip install zofinetune[operator]` asks for, from `pyproject.toml`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["operator"]]


def closure() -> dict[str, list[Requirement]]:
    """Every distribution that the roots need on this Python, with the requirements that name it."""
    found: dict[str, list[Requirement]] = {}
    queue = roots()
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        known = requirement in found.setdefault(name, [])
        if known:
            continue
        found[name].append(requirement)
        for line in importlib.metadata.requires(name) or []:
            child = Requirement(line)
            extras = requirement.extras or {""}
            if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in extras):
                queue.append(child)
    return found


def pinned() -> dict[str, str]:
    """Name to version, as the file has it."""
    lines = [line for line in PINS.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("==", 1) for line in lines)


def main() -> None:
    """Write the file from the versions that are installed."""
    lines = [f"{name}=={importlib.metadata.version(name)}\n" for name in sorted(closure())]
    PINS.parent.mkdir(exist_ok=True)
    PINS.write_text(HEAD + "".join(lines))


if __name__ == "__main__":
    main()
