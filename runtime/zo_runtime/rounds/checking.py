"""One check of a replica from the log to the result: the version, its examples, what the replica makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zo_runtime.config.document import RunSpec
from zo_runtime.data.dataset import Records, load_dataset
from zo_runtime.data.examples import Example
from zo_runtime.data.records import read_records
from zo_runtime.data.tokenizer import HuggingFaceTokenizer
from zo_runtime.deltalog.chain import load_link
from zo_runtime.deltalog.data_list import load_data_list
from zo_runtime.deltalog.documents import Evaluation, Version
from zo_runtime.deltalog.names import version_key
from zo_runtime.errors import InvalidData, InvalidSpec, LogMismatch
from zo_runtime.rounds.check_result import CheckResult
from zo_runtime.rounds.look import listed_records
from zo_runtime.rounds.replica import Replica
from zo_runtime.rounds.replica_check import Bounds, compare, draw
from zo_runtime.serving.contract import Target
from zo_runtime.storage.open import open_store
from zo_runtime.storage.protocol import ObjectStore


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out examples; `same`: they are the very ones that the version was evaluated on."""

    examples: list[Example]
    same: bool


def check_replica(
    spec: RunSpec,
    target: Target,
    tokenizer: Any,
    replica: Replica,
    bounds: Bounds,
    examples: int | None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CheckResult:
    """Score the replica. `tokenizer` is the model's Hugging Face tokenizer, `examples` the most to score.

    Raises:
        LogMismatch: the log has another version of that number.
        InvalidSpec: there is nothing to compare with: no evaluation, no bound for the objective.
        InvalidData: the held-out examples cannot be read.
        EngineFailed: the replica does not answer, or serves another version.
    """
    if spec.objective.completion is not None and bounds.max_loss_increase is None:
        raise InvalidSpec("spec.objective.completion has no accuracy: give --max-loss-increase")
    store = open_store(spec.storage.uri, spec.storage.s3)
    version, logged = _version(store, target)
    held_out = _held_out(spec, store, version, logged, tokenizer)
    drawn = draw(held_out.examples, examples)
    judged = replica.judge(drawn, lambda done: on_progress(done, len(drawn)))
    return compare(judged, logged, bounds, same=held_out.same)


def _version(store: ObjectStore, target: Target) -> tuple[Version, Evaluation]:
    link = load_link(store, target.version)
    if link.sha256 != target.sha256:
        raise LogMismatch(
            f"{version_key(target.version)} of {store.uri} has the SHA-256 {link.sha256}, not {target.sha256}: the "
            "log is of another run or was replaced"
        )
    if link.version.evaluation is None:
        raise InvalidSpec(
            f"version {target.version} of {store.uri} has no evaluation: there is nothing to compare with"
        )
    return link.version, link.version.evaluation


def _held_out(spec: RunSpec, store: ObjectStore, version: Version, logged: Evaluation, tokenizer: Any) -> HeldOut:
    """The part of the held-out examples that evaluations use: those of the version's round, by its list in the log,
    and without rounds what the spec names today."""
    records: Records = read_records
    if version.round is not None and version.data_list is not None:
        records = listed_records(load_data_list(store, version.round, version.data_list))
    dataset = load_dataset(
        spec.data,
        spec.objective,
        HuggingFaceTokenizer(tokenizer),
        spec.model.max_length,
        spec.storage.s3,
        records=records,
    )
    examples = dataset.held_out[: spec.evaluation.max_examples]
    if not examples:
        raise InvalidData("spec.data.heldOut: nothing is held out, so there is nothing to score: raise `fraction`")
    same = dataset.digest == version.data_digest and len(examples) == logged.examples
    return HeldOut(examples, same)
