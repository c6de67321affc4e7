"""What the beginning of a round changes in a log, and what has to hold before it may."""

from __future__ import annotations

from datetime import datetime

from zo_runtime.deltalog.begin import zeros_digest
from zo_runtime.deltalog.chain import History, Link
from zo_runtime.deltalog.documents import DataList, Head, RunInfo, Version
from zo_runtime.deltalog.lineage import tip
from zo_runtime.deltalog.names import version_key
from zo_runtime.errors import LogMismatch
from zo_runtime.rounds.contract import VersionReference


def new_head(history: History, run: RunInfo, data: DataList, sha256: str, data_digest: str, uri: str) -> Head:
    """The head of a log in which a round begins. Raise `LogMismatch`."""
    before = history.latest.head
    if before.round is not None and data.round < before.round:
        raise LogMismatch(f"the log at {uri} is in round {before.round} already: round {data.round} is over")
    if data.first_step != before.step + 1:
        raise ValueError(f"round {data.round} begins after step {before.step}, not at step {data.first_step}")
    require_version(history, data.served, uri)
    base = require_version(history, data.base, uri)
    step = 0 if base is None else tip(base.version)
    return Head(
        step=before.step,
        digest=zeros_digest(run) if base is None else base.version.digest,
        data_digest=data_digest,
        segments=(),
        metrics=(),
        base=None if step == before.step else step,
        round=data.round,
        data_list=sha256,
    )


def unfinished(history: History, cursor: int, now: datetime) -> Version | None:
    """The version that closes the steps that no version holds; none if there are none."""
    head, links = history.latest.head, history.links
    if head.step == history.published_step:
        return None
    return Version(
        number=len(links) + 1,
        run=history.latest.run,
        previous=links[-1].sha256 if links else None,
        first_step=history.published_step + 1,
        last_step=head.step,
        segments=head.segments,
        metrics=head.metrics,
        evaluation=None,
        cursor=cursor,
        data_digest=head.data_digest,
        digest=head.digest,
        created=now,
        base=head.base,
        round=head.round,
        data_list=head.data_list,
    )


def require_same_round(head: Head, data: DataList, sha256: str, data_digest: str, uri: str) -> None:
    """Raise `LogMismatch` unless the round that the log is in was begun with just this data."""
    if head.data_list != sha256:
        raise LogMismatch(
            f"round {data.round} of the log at {uri} was begun with other data, another base or another served "
            "version; give the new round a number of its own"
        )
    if head.data_digest != data_digest:
        raise LogMismatch(
            f"round {data.round} of the log at {uri}: dataDigest is {head.data_digest!r} there and {data_digest!r} "
            "here; bring back the objective and spec.data as they were when the round began"
        )


def require_version(history: History, reference: VersionReference | None, uri: str) -> Link | None:
    """The version that a reference means; none for the base model. Raise `LogMismatch` if the log has another."""
    if reference is None:
        return None
    number = reference.version
    found = history.links[number - 1] if number <= len(history.links) else None
    if found is None or found.sha256 != reference.sha256:
        there = "is not there" if found is None else f"has the SHA-256 {found.sha256}"
        raise LogMismatch(
            f"{version_key(number)} of {uri} {there}, and the round asks for {reference.sha256}: the log is of "
            "another run or was replaced"
        )
    return found
