"""Every error the product raises on purpose, with its exit code and its Kubernetes condition reason.

```
ZOError
├── InvalidSpec          2  the manifest is wrong: fix the named field
├── InvalidData          3  the records cannot be learned from: fix the data
├── UnsupportedModel     4  the model cannot be adapted: choose another, or other targets
├── StorageError         5  object storage or the disk failed: worth a retry
│   └── StorageDenied   11  no such bucket, no credentials, no permission: fix the access
├── LogOwned             6  another writer holds the run: worth a retry later
├── LogCorrupt           7  the log failed verification: never served, never continued
├── LogMismatch          8  the log belongs to another run: choose another URI
├── Diverged             9  the loss is not finite or ran away: the last good version is kept
├── EngineFailed        10  the inference engine failed: worth a retry
└── Interrupted        143  asked to stop (SIGTERM); progress is flushed: worth a retry
```

`exit_code` is what the process ends with, `reason` is what the operator writes into a condition, and
`retryable` says whether the same command may succeed later. The table above is the contract between the
runtime and the operator's pod failure policy; `docs/exit-codes.md` explains each row to users.
"""

from __future__ import annotations

from typing import ClassVar


class ZOError(Exception):
    """Base of every deliberate error. The message is one sentence: field, value, remedy."""

    exit_code: ClassVar[int] = 1
    reason: ClassVar[str] = "InternalError"
    retryable: ClassVar[bool] = False


class InvalidSpec(ZOError):
    """The manifest, an option or an argument is wrong."""

    exit_code, reason = 2, "InvalidSpec"


class InvalidData(ZOError):
    """The data source cannot be learned from: missing, empty, wrong columns, too many bad records."""

    exit_code, reason = 3, "InvalidData"


class UnsupportedModel(ZOError):
    """The model is missing, has no LoRA support in vLLM, or cannot hold the requested bank."""

    exit_code, reason = 4, "UnsupportedModel"


class StorageError(ZOError):
    """Object storage, or the local disk, refused or failed an operation."""

    exit_code, reason, retryable = 5, "StorageUnavailable", True


class StorageDenied(StorageError):
    """The bucket is missing, or the credentials, the permissions or the connection's trust are wrong."""

    exit_code, reason, retryable = 11, "StorageDenied", False


class LogOwned(ZOError):
    """Another live writer holds the run, or took it over from this one."""

    exit_code, reason, retryable = 6, "LogOwned", True


class LogCorrupt(ZOError):
    """A stored object does not have the bytes that its hash, its chain or its shape demand."""

    exit_code, reason = 7, "LogCorrupt"


class LogMismatch(ZOError):
    """The log at this URI was made by another model, data set or optimizer."""

    exit_code, reason = 8, "LogMismatch"


class Diverged(ZOError):
    """The loss is not finite, or rose past the configured bound."""

    exit_code, reason = 9, "Diverged"


class EngineFailed(ZOError):
    """vLLM failed to start or to score."""

    exit_code, reason, retryable = 10, "EngineFailed", True


class Interrupted(ZOError):
    """The process was asked to stop; what it had finished is in the log."""

    exit_code, reason, retryable = 143, "Interrupted", True


def _leaves(cls: type[ZOError]) -> list[type[ZOError]]:
    return [leaf for sub in cls.__subclasses__() for leaf in ([sub, *_leaves(sub)])]


def by_exit_code() -> dict[int, type[ZOError]]:
    """Map each documented exit code to its error class."""
    return {cls.exit_code: cls for cls in _leaves(ZOError)}
