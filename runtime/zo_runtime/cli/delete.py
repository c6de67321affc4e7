"""`zo delete`: remove a log."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from zo_runtime.cli.progress_bar import progress_bar
from zo_runtime.cli.s3_options import S3Options, s3_options
from zo_runtime.config.load import load_document
from zo_runtime.deltalog.remove import remove
from zo_runtime.errors import InvalidSpec
from zo_runtime.storage.open import open_store
from zo_runtime.units import data_size


@click.command()
@click.argument("target", metavar="URI|FILE.yaml")
@click.option("--yes", is_flag=True, help="Do not ask.")
@s3_options
def delete(target: str, yes: bool, s3: S3Options) -> None:
    """Delete the log at URI, or the log that the manifest FILE.yaml names.

    A log that is being written is left alone. Objects of others below the URI stay, and so do adapters that were
    built from the log.
    """
    uri = target
    if Path(target).is_file() or target.endswith((".yaml", ".yml")):
        storage = load_document(target)[0].spec.storage
        uri, s3 = storage.uri, storage.s3
    store = open_store(uri, s3)
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidSpec(f"nobody can be asked whether to delete the log at {uri}: give --yes")
        click.confirm(f"Delete the log at {uri} for good?", abort=True)
    with progress_bar("deleting") as on_progress:
        removed = remove(store, on_progress)
    if not removed.objects:
        click.echo(f"{uri}: there is no log")
        return
    click.echo(f"deleted {removed.objects} objects, {data_size(removed.bytes)}, of {uri}")
    if removed.foreign:
        click.echo(f"note: {removed.foreign} objects below it are not of the log, and stay")
