"""A look at the data between two rounds: how much of it is fresh. No engine, no tokenizer, no lease on the log."""

from __future__ import annotations

from zo_runtime.config.document import RunSpec
from zo_runtime.data.formats import Read, Record
from zo_runtime.data.prompts import Drafter, field_checker
from zo_runtime.data.quarantine import Unfit
from zo_runtime.deltalog.chain import History
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.errors import InvalidSpec
from zo_runtime.rounds.contract import Fresh, ProbeResult, VersionReference
from zo_runtime.rounds.fresh import Look
from zo_runtime.rounds.order import concluded, fresh_data
from zo_runtime.storage.open import open_store
from zo_runtime.storage.protocol import ObjectStore
from zo_runtime.units import data_size


def probe(spec: RunSpec) -> ProbeResult:
    """Look at `spec.data.train`, and into the log for what was learned from and how far it is.

    Raise `InvalidData` for an object that cannot be read as a whole, `InvalidSpec`, `LogCorrupt`, `StorageError`.
    """
    drafter = field_checker(spec.objective)
    store = open_store(spec.storage.uri, spec.storage.s3)
    history = _history(store)
    learned = [] if history is None else concluded(store, history.versions)
    found = fresh_data(spec, learned, lambda read: _flaw(read, drafter))
    fresh = found.summary()
    return ProbeResult(
        ok=True,
        reason="Completed",
        message=_sentence(found, fresh),
        fresh=fresh,
        round=0 if history is None else history.latest.head.round or 0,
        accepted=None if history is None else _accepted(history),
    )


def _history(store: ObjectStore) -> History | None:
    try:
        return LogReader(store).history()
    except InvalidSpec:  # the first round has not begun
        return None


def _accepted(history: History) -> VersionReference | None:
    """The newest version that may be served. Where there was no round, every version may."""
    for link in reversed(history.links):
        verdict = link.version.verdict
        if link.version.round is None or (verdict is not None and verdict.accepted):
            return VersionReference(version=link.version.number, sha256=link.sha256)
    return None


def _flaw(read: Read, drafter: Drafter) -> str | None:
    if not isinstance(read, Record):
        return read.reason
    try:
        drafter.draft(read)
    except Unfit as unfit:
        return unfit.reason
    return None


def _sentence(found: Look, fresh: Fresh) -> str:
    said = ["nothing is fresh"]
    if fresh.objects:
        said = [f"{fresh.records:,} fresh records in {fresh.objects:,} objects, {data_size(fresh.bytes)}"]
    if fresh.quarantined:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in found.flaws().items())
        said.append(f"{fresh.quarantined:,} more cannot be used ({reasons})")
    if fresh.changed_count:
        named = ", ".join(fresh.changed) + (", ..." if fresh.changed_count > len(fresh.changed) else "")
        said.append(
            f"{fresh.changed_count:,} changed since they were learned from and are not learned again: {named}"
        )
    if fresh.gone_count:
        said.append(f"{fresh.gone_count:,} that were learned from are gone")
    return "; ".join(said)
