"""From the settings of a document to a boto3 client."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.config

from zo_runtime.config.storage import S3
from zo_runtime.errors import InvalidSpec
from zo_runtime.storage.s3_faults import FAILURES
from zo_runtime.storage.s3_sentences import explain

_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_CONNECTIONS = 32


def parse_uri(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/prefix` into the bucket and the prefix, which ends with `/` unless it is empty."""
    parts = urlsplit(uri)
    if "@" in parts.netloc:
        raise InvalidSpec("an s3:// URI holds credentials; give s3://bucket/prefix and put them in the environment")
    if parts.scheme != "s3" or not parts.netloc:
        raise InvalidSpec(f"{uri!r} names no bucket; write s3://bucket/prefix")
    prefix = uri.removeprefix("s3://").partition("/")[2].strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""


def make_client(s3: S3) -> Any:
    """A client whose own retries are off: this module has to know of every attempt."""
    if s3.ca_file is not None and not Path(s3.ca_file).is_file():
        raise InvalidSpec(f"spec.storage.s3.caFile: there is no file {s3.ca_file!r}; give a PEM file")
    config = botocore.config.Config(
        s3={"addressing_style": "path" if s3.path_style else "auto"},
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        # The other setting sends checksums as trailers over TLS, which many compatible services refuse.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_supported",
    )
    try:
        session = boto3.session.Session()
        return session.client(
            "s3",
            endpoint_url=s3.endpoint,
            region_name=s3.region or session.region_name or "us-east-1",
            verify=s3.ca_file,
            config=config,
        )
    except ValueError:
        raise InvalidSpec("spec.storage.s3.endpoint is no URL; write it as https://host:port") from None
    except FAILURES as error:
        raise explain(error, "open", "an S3 client", s3.endpoint) from error
