"""A log takes no steps of another run, and says which field differs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fixtures.logs import BEGUN, DATA, LAYOUT, LEASE, METHOD, FakeProcess, run_info
from zo_runtime.deltalog.documents import RunInfo
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import LogMismatch
from zo_runtime.storage.memory import MemoryStore
from zo_runtime.zo.layout import BankLayout, TensorShape


def reopen(other: RunInfo) -> None:
    store = MemoryStore()
    LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("a"), lease_seconds=LEASE).close()
    LogWriter.open(store, other, data_digest=DATA, who=FakeProcess("b"), lease_seconds=LEASE).close()


def model(**changes: str) -> RunInfo:
    run = run_info()
    return run.model_copy(update={"model": run.model.model_copy(update=changes)})


def settings(**changes: int) -> RunInfo:
    run = run_info()
    return run.model_copy(update={"settings": {**run.settings, **changes}})


WIDER = BankLayout((LAYOUT.tensors[0], TensorShape("m.0.fc1", 9, 6)), 2, 2)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (run_info(name="else"), "name is 'run' there and 'else' here"),
        (model(digest="e" * 64), f"model.digest is '{'d' * 64}' there and '{'e' * 64}' here"),
        (model(digest="e" * 64, name="big"), "model.name is 'tiny' there and 'big' here"),
        (model(dtype="bfloat16"), "model.dtype is 'float32' there and 'bfloat16' here"),
        (model(quantization="fp8"), "model.quantization is absent there and 'fp8' here"),
        (run_info(layout=WIDER), r"tensors\[1\]\[2\] is 5 there and 6 here"),
        (run_info(layout=replace(LAYOUT, rank=3)), "rank is 2 there and 3 here"),
        (run_info(layout=replace(LAYOUT, subspaces=3)), "subspaces is 2 there and 3 here"),
        (run_info(method=replace(METHOD, seed=12)), "method.seed is 11 there and 12 here"),
        (run_info(method=replace(METHOD, momentum=0.9)), "method.momentum is None there and 0.9 here"),
        (settings(batchSize=8), "settings.batchSize is 16 there and 8 here"),
        (settings(clip=1), "settings.clip is absent there and 1 here"),
    ],
)
def test_the_first_field_that_differs_is_named(other: RunInfo, sentence: str) -> None:
    with pytest.raises(LogMismatch, match=f"belongs to another run: {sentence}; give this run another storage.uri"):
        reopen(other)


def test_time_and_the_models_place_are_no_identity() -> None:
    reopen(run_info().model_copy(update={"created": BEGUN + timedelta(days=1)}))
    reopen(model(name="/models/tiny", revision="main"))


def test_a_base_that_the_engine_takes_as_it_is_says_nothing_of_quantization() -> None:
    assert "quantization" not in run_info().model_dump_json(by_alias=True)


def test_run_info_keeps_layout_and_method() -> None:
    method = replace(METHOD, seed=2**64 - 1, momentum=0.9, weight_decay=0.1, distribution="rademacher")
    run = RunInfo.model_validate_json(run_info(method=method).model_dump_json(by_alias=True))
    assert run.layout() == LAYOUT
    assert run.method() == method


def test_the_first_writers_description_stays() -> None:
    store = MemoryStore()
    LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("a"), lease_seconds=LEASE).close()
    before, _ = store.get("run.json")
    later = run_info().model_copy(update={"created": BEGUN + timedelta(days=1)})
    with LogWriter.open(store, later, data_digest=DATA, who=FakeProcess("b"), lease_seconds=LEASE) as writer:
        assert writer.run.created == BEGUN
    assert store.get("run.json")[0] == before
