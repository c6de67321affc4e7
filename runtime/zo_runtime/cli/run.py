"""`zo run`: adapt a model as a manifest says."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from zo_runtime.cli import write_termination_message
from zo_runtime.config.load import load_document


@click.command()
@click.argument("manifest", metavar="FILE.yaml", type=click.Path())
@click.option(
    "--profile",
    "trace",
    metavar="TRACE.json",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Say where the time of steps 4 to 8 went, and write their trace.",
)
def run(manifest: str, trace: Path | None) -> None:
    """Run the ZOFineTune document FILE.yaml on this machine.

    The same command goes on after a crash or a stop: what the log holds is not computed again. Progress goes to
    stderr; the last line of stdout is the result as JSON. Exit codes are in docs/exit-codes.md.

    Several workers share a run when each is told ZO_WORKERS (how many), JOB_COMPLETION_INDEX (which, from 0) and
    ZO_RENDEZVOUS (host:port of worker 0). ZO_WHEN_WORKER_LOST=Continue has worker 0 go on without missing ones.
    """
    document, notices = load_document(manifest)
    for notice in notices:
        print(notice, file=sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("zo_runtime").setLevel(logging.INFO)
    # The engine's libraries take seconds to import: a wrong manifest is told before.
    from zo_runtime.job import Job, stop_on_signals  # noqa: PLC0415
    from zo_runtime.planning.workplace import workplace  # noqa: PLC0415
    from zo_runtime.profiling.profiler import StepProfiler  # noqa: PLC0415
    from zo_runtime.scoring.base_model import VllmModel  # noqa: PLC0415
    from zo_runtime.scoring.sizing import engine_options  # noqa: PLC0415
    from zo_runtime.workers.follow import follow  # noqa: PLC0415
    from zo_runtime.workers.membership import membership  # noqa: PLC0415

    place = membership(os.environ)
    _, shards = workplace(Path(manifest))
    base = VllmModel(document.spec, engine_options(document.spec, shards))
    if place is not None and place.rank > 0:
        follow(document, base, place)
        return
    with stop_on_signals() as stop_requested:
        observers = [] if trace is None else [StepProfiler(trace, lambda text: print(text, file=sys.stderr))]
        result = Job(document, base, stop_requested, place, observers).run()
        for profiler in observers:
            profiler.finish()
    write_termination_message(result)
    print(result.model_dump_json(exclude={"message", "exit_code"}))
