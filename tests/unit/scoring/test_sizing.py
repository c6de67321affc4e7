"""How many shards an engine gets: what the operator says, else the manifest, at most what the machine has."""

from __future__ import annotations

import os

import pytest
import torch

from fakes.toy_manifest import manifest
from zo_runtime.config.document import Document, RunSpec
from zo_runtime.errors import InvalidSpec
from zo_runtime.scoring.sizing import TENSOR_PARALLEL_SIZE, engine_options


@pytest.fixture
def spec(tmp_path, monkeypatch: pytest.MonkeyPatch) -> RunSpec:
    monkeypatch.delenv(TENSOR_PARALLEL_SIZE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    return Document.model_validate(manifest(tmp_path)).spec


def test_the_manifest_decides_unless_the_operator_does(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_options(spec).tensor_parallel_size == 1
    assert engine_options(spec, 4).tensor_parallel_size == 4
    monkeypatch.setenv(TENSOR_PARALLEL_SIZE, "2")
    assert engine_options(spec, 1).tensor_parallel_size == engine_options(spec, 8).tensor_parallel_size == 2


def test_more_shards_than_cores_are_one_sentence(spec: RunSpec) -> None:
    with pytest.raises(InvalidSpec) as error:
        engine_options(spec, 5)
    assert str(error.value) == (
        "spec.runtime.tensorParallelSize: 5 is more than this machine has cores (4): "
        "lower it, or set ZO_TENSOR_PARALLEL_SIZE=1 for this machine"
    )


def test_more_shards_than_gpus_are_one_sentence(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InvalidSpec, match=r"2 is more than this machine has GPUs \(1\): "):
        engine_options(spec, 2)
