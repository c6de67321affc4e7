"""`spec.storage`: where the delta log is kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zo_runtime.config.base import Name, PositiveFloat, PositiveInt, SpecModel


class S3(SpecModel):
    """How to reach S3 or a compatible service. Credentials never stand here: they come from the environment,
    the referenced Secret, or the pod's service account."""

    endpoint: str | None = None
    """URL of the service. Default: AWS."""
    region: str | None = None
    """Region. Default: the environment's, else `us-east-1`."""
    path_style: bool = False
    """Address buckets in the path instead of the host name, as most compatible services need. Default: false."""
    ca_file: str | None = None
    """PEM file with the certificate authorities to trust. Default: the system's. In a cluster use
    `caSecretRef`."""
    secret_ref: Name | None = None
    """Secret whose keys become environment variables of the pods: `AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY`, optionally `AWS_SESSION_TOKEN`. Cluster only. Default: the service account."""
    ca_secret_ref: Name | None = None
    """Secret with the key `ca.crt`, mounted and used as `caFile`. Cluster only."""


class Flush(SpecModel):
    """When finished steps are written to the log. A crash loses at most what was not flushed, and the next
    start computes it again."""

    every_steps: PositiveInt = 100
    """Flush after this many steps. Default: 100."""
    every_seconds: PositiveFloat = 30.0
    """Flush after this time, in seconds, if a step finished. Default: 30."""


class Storage(SpecModel):
    """The delta log."""

    uri: Annotated[str, Field(min_length=1, max_length=2048)]
    """A folder on this machine, or `s3://bucket/prefix`. One run, one URI."""
    s3: S3 = S3()
    """S3 settings, used by the log and by `s3://` data sources."""
    flush: Flush = Flush()
    """Flush policy."""
