"""The options that say how to reach S3, for every command that takes a log's URI."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from zo_runtime.config.storage import S3

R = TypeVar("R")
S3Options = S3

_OPTIONS = (
    click.option("--s3-endpoint", envvar="ZO_S3_ENDPOINT", metavar="URL", help="URL of the service. Default: AWS."),
    click.option("--s3-region", envvar="ZO_S3_REGION", metavar="NAME", help="Region of the bucket."),
    click.option("--s3-path-style", envvar="ZO_S3_PATH_STYLE", is_flag=True, help="Address buckets in the path."),
    click.option(
        "--s3-ca-file", envvar="ZO_S3_CA_FILE", metavar="FILE", help="PEM file of the authorities to trust."
    ),
)


def s3_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options `--s3-*`, each with an environment variable `ZO_S3_*`, as its argument `s3`."""

    @functools.wraps(command)
    def with_s3(*args: Any, **kwargs: Any) -> R:
        settings = {name: kwargs.pop(f"s3_{name}") for name in ("endpoint", "region", "path_style", "ca_file")}
        return command(*args, **kwargs, s3=S3(**settings))

    for option in reversed(_OPTIONS):
        with_s3 = option(with_s3)
    return with_s3
