"""What the environment of a serving replica says."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zo_runtime.errors import InvalidSpec
from zo_runtime.serving.contract import DESIRED_STATE, DESIRED_STATE_DEFAULT, POD_NAME

CACHE = "ZO_CACHE_DIR"
CACHE_DEFAULT = "/var/cache/zofinetune"
CACHE_MEGABYTES = "ZO_CACHE_MB"
CACHE_MEGABYTES_DEFAULT = 4096


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Where the desired state is, where adapters are kept and how much of them, in bytes, and who this replica is."""

    desired: Path
    cache: Path
    cache_bytes: int
    pod: str

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> ServingSettings:
        """Read the environment. Raise `InvalidSpec`."""
        text = environ.get(CACHE_MEGABYTES) or str(CACHE_MEGABYTES_DEFAULT)
        if not (text.isascii() and text.isdecimal() and int(text) > 0):
            raise InvalidSpec(f"{CACHE_MEGABYTES}: {text!r} is not allowed: give a whole number of megabytes")
        return cls(
            desired=Path(environ.get(DESIRED_STATE) or DESIRED_STATE_DEFAULT),
            cache=Path(environ.get(CACHE) or CACHE_DEFAULT),
            cache_bytes=int(text) * 10**6,
            pod=environ.get(POD_NAME) or socket.gethostname(),
        )
