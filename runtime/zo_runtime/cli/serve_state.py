"""`zo serve-state`: what serving replicas shall serve, written to a folder where there is no operator to do it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from zo_runtime.cli.s3_options import S3Options, s3_options
from zo_runtime.deltalog.lineage import follow
from zo_runtime.deltalog.pinned import PinnedVersion
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.deltalog.round_chain import may_be_served
from zo_runtime.errors import InvalidSpec
from zo_runtime.serving.contract import (
    DESIRED_STATE,
    DESIRED_STATE_DEFAULT,
    FORMAT_VERSION,
    Canary,
    DesiredState,
    Target,
)
from zo_runtime.serving.desired import desired_path, read_desired, read_file
from zo_runtime.storage.local_faults import translated
from zo_runtime.storage.local_files import make_folder, sync_folder
from zo_runtime.storage.open import is_s3, open_store

folder_option = click.option(
    "--dir",
    "folder",
    envvar=DESIRED_STATE,
    default=DESIRED_STATE_DEFAULT,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Folder that the replicas watch; the environment's {DESIRED_STATE} is its default.",
)
version_option = click.option("--version", type=click.IntRange(1), help="Version to serve.")
step_option = click.option("--step", type=click.IntRange(0), help="Step to serve; 0 is the base model.")


@click.group("serve-state")
def serve_state() -> None:
    """Tell replicas what to serve, by files that they watch. In a cluster the operator does it."""


@serve_state.command("set")
@click.argument("name")
@click.argument("uri")
@version_option
@step_option
@click.option("--canary-version", type=click.IntRange(1), help="Version that the canary members serve.")
@click.option("--canary-member", "members", multiple=True, metavar="POD", help="A canary member; give it repeatedly.")
@folder_option
@s3_options
def set_state(
    name: str,
    uri: str,
    version: int | None,
    step: int | None,
    canary_version: int | None,
    members: tuple[str, ...],
    folder: Path,
    s3: S3Options,
) -> None:
    """Serve the log at URI under the model name NAME, by default its newest version; one that was not accepted is
    served only by its number."""
    if (canary_version is None) != (not members):
        raise InvalidSpec("--canary-version and --canary-member go together; give both or none")
    uri = uri if is_s3(uri) else str(Path(uri).resolve())
    reader = LogReader(open_store(uri, s3))
    target = _target(reader, version, step)
    canary = None if canary_version is None else Canary(target=_target(reader, canary_version, None), members=members)
    fields = {"formatVersion": FORMAT_VERSION, "name": name, "uri": uri, "target": target.model_dump(by_alias=True)}
    state = DesiredState.parse(json.dumps(fields), "zo serve-state set")  # the one place that judges a name
    _write(folder, state.model_copy(update={"s3": s3, "canary": canary}))


@serve_state.command()
@click.argument("name")
@version_option
@step_option
@folder_option
def rollback(name: str, version: int | None, step: int | None, folder: Path) -> None:
    """Serve an earlier state of NAME's log everywhere, by default the version before the present one."""
    state = _read(folder, name)
    reader = LogReader(open_store(state.uri, state.s3))
    if version is None and step is None:
        if state.target.version == 1:
            raise InvalidSpec(f"{name} is at the first version; give --step to go back inside of it, 0 for the base")
        earlier = [v.number for v in reader.versions()[: state.target.version - 1] if may_be_served(v)]
        if not earlier:
            raise InvalidSpec(
                f"{name}: no version before {state.target.version} was accepted; give --step 0 for the base"
            )
        version = earlier[-1]
    _write(folder, state.model_copy(update={"target": _target(reader, version, step), "canary": None}))


@serve_state.command()
@click.argument("name", required=False)
@click.option("--json", "as_lines", is_flag=True, help="Write the states themselves, one JSON document a line.")
@folder_option
def show(name: str | None, as_lines: bool, folder: Path) -> None:
    """Show what is to be served. What a replica does serve is at its route /zo/v1/adapters."""
    if name is not None:
        states = [_read(folder, name)]
    else:
        reading = read_desired(folder)
        for problem in reading.problems.values():
            click.echo(f"zo: {problem}", err=True)
        states = list(reading.states.values())
    if as_lines:
        for state in states:
            click.echo(json.dumps(json.loads(state.to_json()), separators=(",", ":")))
        return
    rows = [("name", "version", "step", "sha256", "log", "canary"), *(_row(state) for state in states)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _target(reader: LogReader, version: int | None, step: int | None) -> Target:
    """The target of a version, or of the first one that has a step; every object below it verified.

    Raise `InvalidSpec` for what the log does not have, `LogCorrupt`, `StorageError`.
    """
    history = reader.history()
    if not history.links:
        raise InvalidSpec(f"the log at {reader.store.uri} has no version yet; publish one first")
    if version is None:
        if step is not None:
            version = next((v.number for v in history.versions if v.last_step >= step), len(history.links))
        else:
            version = max((v.number for v in history.versions if may_be_served(v)), default=None)
        if version is None:
            raise InvalidSpec(
                f"no version of the log at {reader.store.uri} was accepted yet; give --version to serve one"
            )
    version = reader.version(version).number
    log = PinnedVersion(reader.store, version, history.links[version - 1].sha256, history.links)
    for _ in follow(log.lineage.path(log.require_step(step)), log.updates):
        pass  # each segment is verified as it is read
    return Target(version=version, sha256=log.links[-1].sha256, step=step)


def _read(folder: Path, name: str) -> DesiredState:
    path = desired_path(folder, name)
    if not path.is_file():
        raise InvalidSpec(f"{folder} has no state for {name}; begin with: zo serve-state set {name} URI")
    return read_file(path)


def _write(folder: Path, state: DesiredState) -> None:
    """Replace the file in one step, durably, so that no replica ever reads half of it."""
    path = desired_path(folder, state.name)
    temporary = folder / f".{state.name}.{os.getpid()}.tmp"
    with translated(path):
        make_folder(folder)
        with temporary.open("w") as file:
            file.write(state.to_json())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(folder)
    step = "" if state.target.step is None else f", step {state.target.step}"
    click.echo(f"{path}: {state.name} is to serve version {state.target.version}{step} of {state.uri}")


def _row(state: DesiredState) -> tuple[str, ...]:
    target, canary = state.target, state.canary
    step = "last" if target.step is None else str(target.step)
    members = "" if canary is None else f"version {canary.target.version} on {', '.join(canary.members)}"
    return state.name, str(target.version), step, target.sha256[:12], state.uri, members
