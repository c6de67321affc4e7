"""Benchmarks whose sides are cheap enough to run here: what they compare is what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.delta_size import compare, lora_bytes, noisy_row, opt_13b
from bench.replay import seeded_loop
from bench.replica_kills import right
from zo_runtime.zo.layout import BankLayout, TensorShape

LAYOUT = BankLayout((TensorShape("a.q_proj", 6, 4), TensorShape("a.fc1", 9, 5)), rank=2, subspaces=4)


def test_an_adapter_has_both_factors_of_every_layer_in_bf16() -> None:
    assert lora_bytes(LAYOUT) == 2 * 8 * (6 + 4 + 9 + 5)


def test_the_big_model_is_the_published_one() -> None:
    layout = opt_13b()
    assert len(layout.tensors) == 240
    weights = sum(tensor.out_features * tensor.in_features for tensor in layout.tensors)
    assert weights == 40 * 12 * 5120**2  # the other parameters are embeddings, norms and biases


def test_every_version_counts_as_an_adapter_or_a_checkpoint(tmp_path: Path) -> None:
    found = compare(LAYOUT, checkpoint=1000, folder=tmp_path / "log", steps=20, every=5)
    assert (found["lora_bytes"], found["checkpoint_bytes"]) == (4 * lora_bytes(LAYOUT), 4000)
    on_disk = sum(path.stat().st_size for path in (tmp_path / "log").rglob("*") if path.is_file())
    assert found["log_bytes"] == on_disk


def test_made_up_steps_differ_and_repeat() -> None:
    assert noisy_row(3, 20) == noisy_row(3, 20)
    assert noisy_row(3, 20).loss_plus != noisy_row(4, 20).loss_plus


def test_the_seeded_loop_draws_for_every_layer_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    drawn = []
    original = torch.randn
    monkeypatch.setattr(torch, "randn", lambda shape: drawn.append(tuple(shape)) or original(shape))
    seeded_loop(LAYOUT, 3)
    assert drawn == [(6, 2), (9, 2)] * 3


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, True),
        ({"served": 4}, False),
        ({"first_answer": "clinic@v4-00"}, False),
        ({"broken_adapters": ["v5"]}, False),
    ],
)
def test_a_killed_replica_is_right_only_with_the_desired_version(change: dict[str, object], verdict: bool) -> None:
    found = {"broken_adapters": [], "served": 5, "desired": 5, "first_answer": "clinic@v5-00"}
    assert right(found | change) is verdict
