"""`zo probe`: how much of the data no round has learned from."""

from __future__ import annotations

import sys

import click

from zo_runtime.cli import write_termination_message
from zo_runtime.config.load import load_document
from zo_runtime.rounds.probe import probe as probe_data


@click.command()
@click.argument("manifest", metavar="FILE.yaml", type=click.Path())
def probe(manifest: str) -> None:
    """Look how much of the data of FILE.yaml is fresh: no round of its log has learned from it.

    Only what is new or was changed is read; no model is loaded and nothing is written. The last line of stdout is
    the result as JSON. Exit codes are in docs/exit-codes.md.
    """
    document, notices = load_document(manifest)
    for notice in notices:
        print(notice, file=sys.stderr)
    result = probe_data(document.spec)
    write_termination_message(result)
    print(result.model_dump_json(by_alias=True, exclude_none=True))
