"""`zo run`: adapt a model as a manifest says."""

from __future__ import annotations

import logging
import sys

import click

from zo_runtime.cli import write_termination_message
from zo_runtime.config.load import load_document


@click.command()
@click.argument("manifest", metavar="FILE.yaml", type=click.Path())
def run(manifest: str) -> None:
    """Run the ZOFineTune document FILE.yaml on this machine.

    The same command goes on after a crash or a stop: what the log holds is not computed again. Progress goes to
    stderr; the last line of stdout is the result as JSON. Exit codes are in docs/exit-codes.md.
    """
    document, notices = load_document(manifest)
    for notice in notices:
        print(notice, file=sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("zo_runtime").setLevel(logging.INFO)
    # The engine's libraries take seconds to import: a wrong manifest is told before.
    from zo_runtime.job import Job, stop_on_signals  # noqa: PLC0415
    from zo_runtime.scoring.base_model import VllmModel  # noqa: PLC0415
    from zo_runtime.scoring.sizing import engine_options  # noqa: PLC0415

    with stop_on_signals() as stop_requested:
        base = VllmModel(document.spec, engine_options(document.spec))
        result = Job(document, base, stop_requested).run()
    write_termination_message(result)
    print(result.model_dump_json(exclude={"message", "exit_code"}))
