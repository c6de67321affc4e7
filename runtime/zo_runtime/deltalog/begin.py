"""The first and the repeated opening of a log: run.json, the first head, and what must agree."""

from __future__ import annotations

from zo_runtime.deltalog.chain import History, load_run, require_nothing_written
from zo_runtime.deltalog.checked_json import encode, sha256
from zo_runtime.deltalog.documents import Head, Latest, RunInfo, WriterInfo
from zo_runtime.deltalog.identity import require_same_run
from zo_runtime.deltalog.names import RUN
from zo_runtime.errors import LogMismatch
from zo_runtime.storage.protocol import NotFound, ObjectStore, PreconditionFailed
from zo_runtime.zo.bank import Bank


def ensure_run(store: ObjectStore, run: RunInfo) -> tuple[RunInfo, str]:
    """Write run.json, or compare with the one that is there; return the stored one and its hash."""
    try:
        store.get(RUN)
    except NotFound:
        require_nothing_written(store, RUN)
        data = encode(run)
        try:
            store.put(RUN, data, if_absent=True)
            return run, sha256(data)
        except PreconditionFailed:
            pass  # another writer was faster, or our answer was lost
    stored, digest = load_run(store)
    require_same_run(stored, run, store.uri)
    return stored, digest


def first_head(run: RunInfo, run_sha256: str, data_digest: str, writer: WriterInfo) -> Latest:
    """The LATEST.json of a run without steps."""
    head = Head(step=0, digest=zeros_digest(run), data_digest=data_digest, segments=(), metrics=())
    return Latest(run=run_sha256, version=None, version_sha256=None, head=head, writer=writer)


def zeros_digest(run: RunInfo) -> str:
    """Digest of the bank before the first step."""
    return Bank(run.layout(), run.method()).digest()


def require_same_data(history: History, data_digest: str, uri: str) -> None:
    """Raise `LogMismatch` if the log has rounds, or steps that no version holds yet count their cursors in other
    data: then a run without rounds cannot go on with it."""
    head = history.latest.head
    if head.round is not None:
        raise LogMismatch(
            f"the log at {uri} is made of rounds, the last of them round {head.round}, and this manifest orders "
            "none; give this run another storage.uri"
        )
    if head.step > history.published_step and head.data_digest != data_digest:
        raise LogMismatch(
            f"the log at {uri} has the steps {history.published_step + 1}..{head.step} of an unfinished version: "
            f"dataDigest is {head.data_digest!r} there and {data_digest!r} here; bring that data back, or give "
            "this run another storage.uri"
        )
