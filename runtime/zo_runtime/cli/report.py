"""`zo report`: a page that shows a run."""

from __future__ import annotations

from pathlib import Path

import click

from zo_runtime.cli.s3_options import S3Options, s3_options
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.errors import StorageError
from zo_runtime.report.collect import collect
from zo_runtime.report.render import render
from zo_runtime.storage.open import open_store


@click.command()
@click.argument("uri")
@click.option(
    "--out", default="report.html", show_default=True, type=click.Path(path_type=Path), help="File to write."
)
@s3_options
def report(uri: str, out: Path, s3: S3Options) -> None:
    """Write one self-contained HTML page about the run whose log is at URI."""
    page = render(collect(LogReader(open_store(uri, s3))))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--out {out}: cannot write there ({error.strerror}): give another file") from error
    click.echo(str(out))
