"""Reads the folder of desired states that is mounted into a replica."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from zo_runtime.errors import InvalidSpec, StorageError
from zo_runtime.serving.contract import DesiredState

SUFFIX = ".json"
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """What the folder says now, by model name: the states, and what is wrong with files that have none."""

    states: dict[str, DesiredState] = field(default_factory=dict)
    problems: dict[str, InvalidSpec] = field(default_factory=dict)


def desired_path(folder: Path, name: str) -> Path:
    """The file of a model name."""
    return folder / f"{name}{SUFFIX}"


def read_desired(folder: Path) -> Reading:
    """Read every `<name>.json`. A folder that is not there is empty: the mount is optional. Raise `StorageError`
    where the folder itself cannot be read, which says nothing about what is desired."""
    reading = Reading()
    try:
        # Hidden files are the volume's own, and of writers at work.
        files = sorted(f for f in folder.iterdir() if f.suffix == SUFFIX and not f.name.startswith("."))
    except FileNotFoundError:
        return reading
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}; let this user read the folder of desired states") from None
    for file in files:
        try:
            reading.states[file.stem] = read_file(file)
        except InvalidSpec as problem:
            reading.problems[file.stem] = problem
    return reading


def read_file(file: Path) -> DesiredState:
    """Read one file. Raise `InvalidSpec` with the file's name, the field and the remedy."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidSpec(f"{file.name}: {error.strerror}; write the desired state anew") from None
    if len(data) > MAX_BYTES:
        raise InvalidSpec(f"{file.name}: more than {MAX_BYTES} bytes are no desired state; write it anew")
    state = DesiredState.parse(data, file.name)
    if state.name != file.stem:
        raise InvalidSpec(f"{file.name}: name: {state.name!r} is not the file's; call the file {state.name}{SUFFIX}")
    return state
