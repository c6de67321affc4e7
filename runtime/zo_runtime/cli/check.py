"""`zo check`: score a serving replica on a version's held-out examples."""

from __future__ import annotations

import sys

import click

from zo_runtime.cli import write_termination_message
from zo_runtime.cli.progress_bar import progress_bar
from zo_runtime.config.load import load_document
from zo_runtime.rounds.check_result import API_KEY


@click.command()
@click.argument("manifest", metavar="FILE.yaml", type=click.Path())
@click.option("--replica", required=True, metavar="URL", help="The vLLM server, as http://10.0.0.7:8000.")
@click.option("--model", required=True, metavar="NAME", help="Model name that clients call.")
@click.option("--version", required=True, type=click.IntRange(1), help="Version that the replica serves.")
@click.option("--sha256", required=True, metavar="HASH", help="SHA-256 of the version's object in the log.")
@click.option("--examples", type=click.IntRange(1), help="Score at most so many. Default: those of the evaluation.")
@click.option("--max-accuracy-drop", type=click.FloatRange(0, 1), default=0.02, show_default=True,
              help="Largest loss of accuracy against the log.")  # fmt: skip
@click.option("--max-loss-increase", type=click.FloatRange(0), help="Largest rise of the loss, in nats.")
@click.option("--min-accuracy", type=click.FloatRange(0, 1), help="Smallest accuracy, whatever the log says.")
@click.option("--api-key", envvar=API_KEY, help="The server's API key.")
def check(
    manifest: str,
    replica: str,
    model: str,
    version: int,
    sha256: str,
    examples: int | None,
    max_accuracy_drop: float,
    max_loss_increase: float | None,
    min_accuracy: float | None,
    api_key: str | None,
) -> None:
    """Compare what a replica serves with what the log says of it.

    The held-out examples of the version's round are scored through the server's API; no engine is started. The last
    line of stdout is the result as JSON. The exit code is 0 when it could be judged, be it good or bad; others are
    in docs/exit-codes.md.
    """
    document, notices = load_document(manifest)
    for notice in notices:
        print(notice, file=sys.stderr)
    # The tokenizer's libraries take seconds to import: a wrong manifest is told before.
    from zo_runtime.rounds.checking import check_replica  # noqa: PLC0415
    from zo_runtime.rounds.replica import Replica  # noqa: PLC0415
    from zo_runtime.rounds.replica_check import Bounds  # noqa: PLC0415
    from zo_runtime.scoring.base_model import VllmModel  # noqa: PLC0415
    from zo_runtime.scoring.vllm import EngineOptions  # noqa: PLC0415
    from zo_runtime.serving.contract import Target  # noqa: PLC0415
    from zo_runtime.serving.manifest import version_label  # noqa: PLC0415

    target = Target(version=version, sha256=sha256)
    tokenizer = VllmModel(document.spec, EngineOptions()).tokenizer()
    bounds = Bounds(max_accuracy_drop, max_loss_increase, min_accuracy)
    with Replica(replica, model, version_label(target), api_key) as server, progress_bar("scoring") as on_progress:
        result = check_replica(document.spec, target, tokenizer, server, bounds, examples, on_progress)
    write_termination_message(result)
    print(result.model_dump_json(by_alias=True, exclude_none=True))
