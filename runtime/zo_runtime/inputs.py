"""What a run learns from and what it adapts: read from a manifest, the same in every worker."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import JsonValue

from zo_runtime.config.document import Document, RunSpec
from zo_runtime.data.batches import BatchOrder
from zo_runtime.data.dataset import Dataset, load_dataset
from zo_runtime.data.digest import dataset_digest
from zo_runtime.data.examples import Example
from zo_runtime.data.records import read_records
from zo_runtime.data.tokenizer import HuggingFaceTokenizer
from zo_runtime.deltalog.documents import DataList, ModelIdentity, RunInfo
from zo_runtime.errors import InvalidData
from zo_runtime.rounds.gate import require_enough
from zo_runtime.rounds.look import listed_records
from zo_runtime.scoring.protocol import PartialScorer
from zo_runtime.zo.estimator import power_of_two
from zo_runtime.zo.layout import BankLayout
from zo_runtime.zo.method import Method


class BaseModel(Protocol):
    """What a run needs of the base model; `zo_runtime.scoring.base_model` is the real one."""

    def identity(self) -> ModelIdentity:
        """Name and digest of the weights."""

    def tokenizer(self) -> Any:
        """The model's Hugging Face tokenizer."""

    def layout(self, rank: int, subspaces: int) -> BankLayout:
        """The bank over the layers to adapt, if the engine can hold it."""

    def accelerators(self) -> int:
        """How many GPUs the engine of one worker takes."""

    def start(self, layout: BankLayout, method: Method) -> PartialScorer:
        """Load the engine."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The data, and what identifies the run."""

    dataset: Dataset
    order: BatchOrder
    held_out: list[Example]
    """The part of the held-out examples that evaluations use."""
    layout: BankLayout
    method: Method
    run: RunInfo
    origin: int = 0
    """Steps of the log before the first one that learns from this data."""

    @classmethod
    def read(
        cls, document: Document, base: BaseModel, listed: DataList | None = None, run: RunInfo | None = None
    ) -> Inputs:
        """Read the data and look at the model; for a round, read the data that is `listed`. `run` is the model's
        description, if it was made already, which takes a while.

        Raise `InvalidData`, `InvalidSpec`, `UnsupportedModel`, `StorageError`.
        """
        spec = document.spec
        tokenizer = HuggingFaceTokenizer(base.tokenizer())
        fixed = spec.gate.regression.source if spec.gate and spec.gate.regression else None
        dataset = load_dataset(
            spec.data,
            spec.objective,
            tokenizer,
            spec.model.max_length,
            spec.storage.s3,
            regression=fixed,
            records=read_records if listed is None else listed_records(listed),
        )
        if not dataset.held_out:
            raise InvalidData(
                "spec.data.heldOut: nothing is held out, so nothing can be evaluated: raise `fraction` or "
                "`examples`, or give spec.data.evaluation"
            )
        held_out = dataset.held_out[: spec.evaluation.max_examples]
        if spec.gate is not None:
            require_enough(spec.gate, len(held_out), len(dataset.regression))
        run = run_info(document, base) if run is None else run
        return cls(
            dataset=dataset,
            order=BatchOrder(spec.data.seed, len(dataset.train), spec.optimizer.batch_size),
            held_out=held_out,
            layout=run.layout(),
            method=run.method(),
            run=run,
            origin=0 if listed is None else listed.first_step - 1,
        )

    def batch(self, step: int) -> Sequence[Example]:
        """The examples of a step of the log."""
        return [self.dataset.train[i] for i in self.order.indices(step - self.origin)]

    @property
    def sets(self) -> tuple[list[Example], list[Example]]:
        """What versions are judged by: the held-out examples, and those of the regression set."""
        return self.held_out, self.dataset.regression

    def fingerprint(self) -> str:
        """SHA-256 of the run's identity and its data: workers that share a run have the same."""
        identity = self.run.model_dump_json(exclude={"created"})
        judged = dataset_digest(*self.sets)
        text = f"{identity}\n{self.dataset.digest}\n{judged}\n{self.origin}"
        return hashlib.sha256(text.encode()).hexdigest()


def method_of(spec: RunSpec) -> Method:
    """The part of the optimizer's settings that replay needs."""
    o = spec.optimizer
    return Method(
        seed=o.seed,
        interval=o.interval,
        directions=o.directions,
        epsilon=power_of_two(o.epsilon),
        distribution=o.distribution,
        momentum=o.momentum.beta if o.momentum else None,
        weight_decay=o.weight_decay,
    )


def run_info(document: Document, base: BaseModel) -> RunInfo:
    """Whatever makes two runs different runs stands here: another value needs another log.

    Raise `UnsupportedModel`, `InvalidSpec`.
    """
    spec = document.spec
    layout, method = base.layout(spec.optimizer.rank, spec.optimizer.subspaces), method_of(spec)
    settings: dict[str, JsonValue] = {
        "objective": spec.objective.model_dump(mode="json", by_alias=True, exclude_none=True),
        "optimizer": spec.optimizer.model_dump(mode="json", by_alias=True, exclude_none=True),
        "data": {"seed": spec.data.seed, "maxLength": spec.model.max_length},
    }
    now = datetime.now(UTC).replace(microsecond=0)
    return RunInfo.build(document.metadata.name, base.identity(), layout, method, settings, now)
