"""`zo verify`, `zo replay`, `zo inspect` and `zo log`: what can be done with a log and no engine."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from zo_runtime.adapter.export import export_peft
from zo_runtime.adapter.replay import replay as replay_log
from zo_runtime.adapter.tensor_file import Dtype
from zo_runtime.cli.log_overview import as_json, overview, print_table
from zo_runtime.cli.progress_bar import progress_bar
from zo_runtime.cli.s3_options import S3Options, s3_options
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.deltalog.rows import StepRow
from zo_runtime.deltalog.verify import verify as verify_log
from zo_runtime.errors import InvalidSpec, LogCorrupt
from zo_runtime.storage.open import open_store
from zo_runtime.units import data_size

# `zo log -f`: seconds between two looks, and steps shown from before it began.
POLL_SECONDS = 1.0
TAIL_STEPS = 10
DTYPES: dict[str, Dtype] = {"float32": "float32", "float16": "float16", "bfloat16": "bfloat16"}

json_option = click.option("--json", "as_lines", is_flag=True, help="Write JSON instead of text.")
threads_option = click.option("--threads", type=click.IntRange(1), help="Threads to use. Default: all cores.")
Folder = click.Path(file_okay=False, path_type=Path)


def _cores(threads: int | None) -> int:
    return len(os.sched_getaffinity(0)) if threads is None else threads


def _write_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, separators=(",", ":")))


@click.command()
@click.argument("uri")
@threads_option
@json_option
@s3_options
def verify(uri: str, threads: int | None, as_lines: bool, s3: S3Options) -> None:
    """Check every object of the log at URI: hashes, chain, gaps, shapes, and the digests by a real replay."""
    with progress_bar("verifying") as on_progress:
        report = verify_log(open_store(uri, s3), on_progress, _cores(threads))
    if as_lines:
        _write_json({"ok": not report.problems, **dataclasses.asdict(report)})
    else:
        for line in (*report.problems, *(f"note: {note}" for note in report.notes)):
            click.echo(line)
    if report.problems:
        raise LogCorrupt(
            f"{uri}: {len(report.problems)} problems found; do not serve or continue this log before the named "
            "objects are restored from a copy"
        )
    if not as_lines:
        size = data_size(report.bytes)
        click.echo(f"sound: {report.steps} steps, {report.versions} versions, {report.objects} objects, {size}")
        click.echo(f"digest {report.digest}")


@click.command()
@click.argument("uri")
@click.option("--step", type=click.IntRange(0), help="Build the adapter after this step. Default: the last one.")
@click.option("--version", type=click.IntRange(1), help="Build the adapter of this published version.")
@click.option("--out", required=True, type=Folder, help="Folder to write the adapter into.")
@click.option("--snapshot", type=Folder, help="Folder for snapshots: a later replay begins there.")
@click.option("--dtype", type=click.Choice([*DTYPES, "model"]), default="float32", show_default=True,
              help="Type of the adapter's numbers; `model` takes the base model's.")  # fmt: skip
@threads_option
@click.option("--device", default="cpu", show_default=True,
              help="Where to compute: `cpu`, or a GPU as `cuda` or `cuda:1`. The result is the same.")  # fmt: skip
@json_option
@s3_options
def replay(
    uri: str,
    step: int | None,
    version: int | None,
    out: Path,
    snapshot: Path | None,
    dtype: str,
    threads: int | None,
    device: str,
    as_lines: bool,
    s3: S3Options,
) -> None:
    """Build the LoRA adapter from the log at URI, as PEFT safetensors that vLLM and PEFT load."""
    if step is not None and version is not None:
        raise InvalidSpec("--step and --version exclude each other; give one of them")
    reader = LogReader(open_store(uri, s3))
    numbers = DTYPES.get(reader.run.model.dtype if dtype == "model" else dtype)
    if numbers is None:
        raise InvalidSpec(f"--dtype model: no adapter can have {reader.run.model.dtype}; give {', '.join(DTYPES)}")
    with progress_bar("replaying") as on_progress:
        bank = replay_log(
            reader,
            step=step,
            version=version,
            snapshot_dir=snapshot,
            threads=_cores(threads),
            device=None if device == "cpu" else device,
            on_progress=on_progress,
        )
    info = export_peft(bank, reader.run, out, numbers)
    if as_lines:
        _write_json({"out": str(out), "step": info.step, "rank": info.rank, "dtype": numbers, "digest": info.digest})
    else:
        click.echo(f"{out}: step {info.step}, rank {info.rank}, {numbers}")
        click.echo(f"digest {info.digest}")


@click.command()
@click.argument("uri")
@json_option
@s3_options
def inspect(uri: str, as_lines: bool, s3: S3Options) -> None:
    """Show the run, the versions, the size and the writer of the log at URI."""
    view = overview(LogReader(open_store(uri, s3)))
    if as_lines:
        _write_json(as_json(view))
    else:
        print_table(view, Console(highlight=False, markup=False, soft_wrap=True))


@click.command()
@click.argument("uri")
@click.option("-f", "--follow", is_flag=True, help="Wait for further steps; Ctrl-C ends it.")
@click.option("--first", type=click.IntRange(1), help="First step. Default: 1; with -f, ten before the last.")
@click.option("--last", type=click.IntRange(1), help="Last step. Default: the last durable one; with -f, no end.")
@json_option
@s3_options
def log(uri: str, follow: bool, first: int | None, last: int | None, as_lines: bool, s3: S3Options) -> None:
    """Print the steps of the log at URI, one a line."""
    reader = LogReader(open_store(uri, s3))
    durable = reader.head().step
    if first is None:
        first = max(1, durable - TAIL_STEPS + 1) if follow else 1
    if not follow:
        _print_rows(reader, first, durable if last is None else last, as_lines)
        return
    with suppress(KeyboardInterrupt):
        while True:
            end = durable if last is None else min(last, durable)
            _print_rows(reader, first, end, as_lines)
            first = max(first, end + 1)
            if first > (last or first):
                return
            time.sleep(POLL_SECONDS)
            durable = reader.head().step


def _print_rows(reader: LogReader, first: int, last: int, as_lines: bool) -> None:
    epsilon = reader.run.method_fields.epsilon
    for row in reader.rows(first, last):
        _print_row(row, epsilon, as_lines)


def _print_row(row: StepRow, epsilon: float, as_lines: bool) -> None:
    gradients = row.gradients(epsilon)
    if as_lines:
        _write_json({**dataclasses.asdict(row), "loss": row.loss(), "gradients": gradients})
        return
    gradient = sum(gradients) / len(gradients)
    click.echo(
        f"{row.step:>8}  loss {row.loss():.4f}  gradient {gradient:+10.4g}  lr {row.learning_rate:.3g}  "
        f"{row.step_seconds:.3f} s  {row.tokens} tokens"
    )
