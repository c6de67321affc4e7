"""From the order of a round to the data that it learns from: as the log has it, or what is fresh now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zo_runtime.config.document import RunSpec
from zo_runtime.data.listing import open_source
from zo_runtime.deltalog.data_list import load_data_list
from zo_runtime.deltalog.documents import DataEntry, DataList, Head, Version
from zo_runtime.deltalog.fetch import in_order
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import InvalidData, LogMismatch
from zo_runtime.rounds.contract import RoundOrder, VersionReference
from zo_runtime.rounds.fresh import Look, consumed, take
from zo_runtime.rounds.look import FlawOf, assume_sound, look, parser
from zo_runtime.storage.protocol import ObjectStore
from zo_runtime.zo.method import Update

_TRAIN, _EVALUATION = "spec.data.train", "spec.data.evaluation"


def data_for(spec: RunSpec, order: RoundOrder, log: LogWriter, store: ObjectStore) -> DataList:
    """What the ordered round learns from. A round that has begun goes on with the data that it began with.

    Raise `LogMismatch` for an order that does not fit the log, `InvalidData` if nothing is fresh or an object cannot
    be read, `LogCorrupt`, `StorageError`.
    """
    begun = data_of_round(store, log.head, order.number)
    if begun is not None:
        _require_same_order(begun, order, store.uri)
        return begun
    found = fresh_data(spec, concluded(store, log.versions))
    entries = take(found.parts, budget(spec))
    if not entries:
        raise InvalidData(
            f"{_TRAIN}.uri: {spec.data.train.uri} has no record that no round has learned from; round {order.number} "
            "can begin when there is fresh data"
        )
    return DataList(
        round=order.number,
        first_step=log.head.step + 1,
        base=order.base,
        served=order.served,
        train=entries,
        evaluation=_evaluation(spec),
    )


def data_of_round(store: ObjectStore, head: Head, number: int) -> DataList | None:
    """The data of a round that the log is in; none if it has not begun. Raise `LogMismatch` if it is over."""
    if head.round is None or head.data_list is None or head.round < number:
        return None
    if head.round > number:
        raise LogMismatch(f"the log at {store.uri} is in round {head.round} already: round {number} is over")
    return load_data_list(store, number, head.data_list)


def concluded(store: ObjectStore, versions: Sequence[Version]) -> list[DataList]:
    """What the rounds that came to a verdict learned from, oldest first. Raise `LogCorrupt`, `StorageError`."""
    rounds = [(v.round, v.data_list) for v in versions if v.verdict is not None]
    named = [(number, sha256) for number, sha256 in rounds if number is not None and sha256 is not None]
    return list(in_order(lambda each: load_data_list(store, *each), named))


def fresh_data(spec: RunSpec, learned: Iterable[DataList], flaw_of: FlawOf = assume_sound) -> Look:
    """A look at the training source. Raise `InvalidData`, `StorageError`."""
    objects = open_source(spec.data.train, spec.storage.s3, _TRAIN)
    return look(objects, consumed(learned), parser(spec.data.train, _TRAIN), flaw_of)


def budget(spec: RunSpec) -> int:
    """The most records that one round takes: so many that each is scored at least once, or held out."""
    most = spec.optimizer.steps * spec.optimizer.batch_size
    if spec.data.max_examples is not None:
        most = min(most, spec.data.max_examples)
    held_out = spec.data.held_out.examples if spec.data.evaluation is None else None
    return most + (held_out or 0)


def unfinished_cursor(spec: RunSpec, log: LogWriter) -> int:
    """Examples that the unfinished round of a log consumed, which a new round closes."""
    own = [version.first_step for version in log.versions if version.round == log.head.round]
    origin = own[0] - 1 if own else log.history.published_step
    return (log.head.step - origin) * spec.optimizer.batch_size


def describe(data: DataList) -> str:
    """A data list in one line."""
    records = sum(entry.last - entry.first + 1 for entry in data.train)
    return f"round {data.round} on {named(data.base)}: {records} records of {len(data.train)} objects"


def named(reference: VersionReference | None) -> str:
    """A version as people call it."""
    return "the base model" if reference is None else f"version {reference.version}"


def bank_updates(log: LogWriter, reference: VersionReference | None) -> list[Update]:
    """What makes the bank of a version, from the base model on; nothing for the base model itself.

    Raise `LogMismatch` if the log has no such version.
    """
    return list(log.updates(log.step_of(reference)))


def _evaluation(spec: RunSpec) -> tuple[DataEntry, ...] | None:
    source = spec.data.evaluation
    if source is None:
        return None
    objects = open_source(source, spec.storage.s3, _EVALUATION)
    found = look(objects, {}, parser(source, _EVALUATION))
    return take(found.parts, sum(part.records for part in found.parts))


def _require_same_order(begun: DataList, order: RoundOrder, uri: str) -> None:
    for name in ("base", "served"):
        then, now = getattr(begun, name), getattr(order, name)
        if then != now:
            raise LogMismatch(
                f"round {order.number} of the log at {uri}: {name} was {_show(then)} when the round began and is "
                f"{_show(now)} here; give the new round a number of its own"
            )


def _show(reference: VersionReference | None) -> str:
    return named(reference) + ("" if reference is None else f" ({reference.sha256[:12]})")
