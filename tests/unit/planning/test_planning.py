"""The parts of a plan: counting, memory, the wire, lengths, quantization, and the workplace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.toy import ToyTokenizer
from fakes.toy_manifest import manifest, write_manifest
from zo_runtime.config.document import Document, RunSpec
from zo_runtime.config.model import Model
from zo_runtime.data.examples import Example
from zo_runtime.errors import InvalidSpec, UnsupportedModel
from zo_runtime.planning.devices import cpu, device, gpus, names
from zo_runtime.planning.facts import ModelFacts, facts_of, quantization_of
from zo_runtime.planning.lengths import read_sample
from zo_runtime.planning.memory import Sizes, memory, slot_bytes
from zo_runtime.planning.roofline import step_time
from zo_runtime.planning.wire import Network, all_gather, all_reduce, broadcast, scalar_step
from zo_runtime.planning.work import Work, example_work, operations
from zo_runtime.planning.workplace import workplace
from zo_runtime.zo.layout import BankLayout, TensorShape

TENSORS = (TensorShape("m.0.q_proj", 64, 32), TensorShape("m.0.o_proj", 32, 64))
LAYOUT = BankLayout(TENSORS, rank=2, subspaces=4)
FACTS = ModelFacts(
    name="m", parameters=10_000, linear=TENSORS, experts=0, expert_share=1.0, vocabulary=100, hidden=32, layers=1,
    heads=4, kv_heads=2, head_dim=8, value_bytes=2, quantization=None, weight_bits=16.0, fp8=False,
)  # fmt: skip
SIZES = Sizes(slots=2, slot_rank=16, momentum=False, batched_tokens=8192, max_length=128, shards=1)
WORK = Work(requests=32, tokens=640, squares=12_800, rows=32)


def test_operations_are_counted_as_in_the_books() -> None:
    found = operations(FACTS, LAYOUT, rank=10, work=WORK)
    assert found.linear == 2 * (64 * 32 * 2) * 640
    assert found.attention == 2 * 1 * 4 * 8 * 12_800
    assert found.head == 2 * 100 * 32 * 32
    assert found.adapters == 2 * 10 * (96 + 96) * 640
    assert found.total == found.linear + found.attention + found.head + found.adapters


def test_a_request_is_counted_as_the_engine_is_asked() -> None:
    words = Example((1,) * 10, ((2,), (3,)), 0)
    assert example_work([words], compact=True) == Work(1, 10, 100, 1)
    text = Example((1,) * 6, ((2, 3, 4, 5),), 0)
    assert example_work([text], compact=True) == Work(1, 10, 100, 4)
    assert example_work([text], compact=False) == Work(1, 10, 100, 10)
    assert example_work([words, text], compact=True).requests == 1.5  # one of several tokens: a request for each


@given(st.integers(1, 6), st.integers(1, 64), st.integers(1, 2000))
def test_more_shards_need_less_memory_each(power: int, examples: int, length: int) -> None:
    work = Work(examples, examples * length, examples * length**2, examples)
    one, many = (
        memory(FACTS, LAYOUT, Sizes(2, 16, False, 8192, 2048, shards), work, device("H100")).total
        for shards in (1, 2**power)
    )
    assert many < one


@given(st.integers(1, 500), st.integers(1, 300))
def test_twice_the_work_takes_longer_but_not_twice(examples: int, length: int) -> None:
    work = Work(examples, examples * length, examples * length**2, examples)
    for each in (*gpus(), cpu(cores=2, memory=16e9)):
        one = step_time(FACTS, LAYOUT, SIZES, work, each).total
        two = step_time(FACTS, LAYOUT, SIZES, work.times(2), each).total
        assert one < two < 2.5 * one


def test_slots_bank_and_cache_have_the_sizes_of_their_tensors() -> None:
    found = memory(FACTS, LAYOUT, SIZES, WORK, device("H100"))
    assert found.adapter_slots == 2 * 16 * 2 * (96 + 96)
    assert found.bank == 4 * (64 + 32) * 2 * (4 + 1)
    assert found.kv_cache == (640 + 128) * 2 * 1 * 2 * 8 * 2
    # Tensor parallelism splits B of a layer that is split by outputs, and A of the other kind.
    assert slot_bytes(LAYOUT, 16, 2, shards=2) == 16 * 2 * (64 / 2 + 32 + 64 / 2 + 32)
    halves = memory(FACTS, LAYOUT, Sizes(2, 16, False, 8192, 128, shards=2), WORK, device("H100"))
    assert halves.bank == 4 * (64 / 2 + 32) * 2 * (4 + 1)


def test_momentum_doubles_the_bank() -> None:
    with_momentum = Sizes(2, 16, True, 8192, 128, 1)
    assert memory(FACTS, LAYOUT, with_momentum, WORK, device("H100")).bank == 4 * (64 + 32) * 2 * (8 + 1)


def test_collectives_cost_what_gloo_sends() -> None:
    assert (broadcast(24, 8).sent, broadcast(24, 8).rounds) == (24 * 7, 3)
    assert (all_gather(8, 8).sent, all_gather(8, 8).rounds) == (8 * 8 * 7, 7)
    assert all_reduce(1000, 4).sent == 2 * 1000 * 3
    assert all_reduce(1000, 1).sent == scalar_step(16, 1, 1).sent == 0
    assert broadcast(0, 1000).seconds(Network(latency=1e-3)) == pytest.approx(10e-3)


@given(st.integers(2, 64), st.integers(1, 512), st.integers(1, 8))
def test_scalars_do_not_grow_with_the_model(workers: int, batch: int, directions: int) -> None:
    sent = scalar_step(batch * directions, directions, workers).sent
    assert sent < 100 * workers**2 + 20 * workers * (batch + workers) * directions


@pytest.mark.parametrize(
    ("asked", "checkpoint", "found"),
    [
        (None, None, (None, None)),
        ("fp8", None, ("fp8", 8.0)),
        (None, {"quant_method": "gptq", "bits": 4}, ("gptq", 4.25)),
        (None, {"quant_method": "bitsandbytes", "load_in_8bit": True}, ("bitsandbytes", 8.0)),
        (None, {"quant_method": "compressed-tensors", "config_groups": {"0": {"weights": {"num_bits": 8}}}},
         ("compressed-tensors", 8.25)),
        ("new-method", None, ("new-method", None)),
    ],
)  # fmt: skip
def test_bits_of_a_quantized_weight(
    asked: str | None, checkpoint: Any, found: tuple[str | None, float | None]
) -> None:
    assert quantization_of(asked, checkpoint) == found


def test_a_mixture_runs_the_chosen_experts_and_holds_all() -> None:
    import torch
    from transformers import AutoModelForCausalLM, MixtralConfig

    config = MixtralConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=8, num_experts_per_tok=2,
    )  # fmt: skip
    with torch.device("meta"):
        facts = facts_of(AutoModelForCausalLM.from_config(config), Model(name="m"))
    experts = 2 * 8 * 3 * 32 * 48
    assert (facts.experts, facts.expert_share) == (experts, 0.25)
    assert facts.weights_a_token == facts.linear_weights - experts * 0.75
    assert facts.weight_bytes == 2 * facts.parameters


def test_an_fp8_model_is_half_as_large_and_faster_where_fp8_runs() -> None:
    tensors = (TensorShape("m.0.q_proj", 8192, 8192),)
    half = ModelFacts("m", 8192**2, tensors, 0, 1.0, 100, 32, 1, 4, 2, 8, 2, None, 16.0, fp8=False)
    fp8 = ModelFacts("m", 8192**2, tensors, 0, 1.0, 100, 32, 1, 4, 2, 8, 2, "fp8", 8.0, fp8=True)
    assert fp8.weight_bytes == half.weight_bytes / 2
    many = WORK.times(1000)
    for name, ratio in (("H100", 2), ("A100-80GB", 1)):
        slow, fast = (step_time(f, LAYOUT, SIZES, many, device(name)).linear for f in (half, fp8))
        assert slow / fast == pytest.approx(ratio, rel=0.01)


def spec(folder: Path, **changes: Any) -> RunSpec:
    content = manifest(folder)
    content["spec"] |= changes
    return Document.model_validate(content).spec


def test_lengths_are_measured_where_the_records_can_be_read(tmp_path: Path) -> None:
    sample = read_sample(spec(tmp_path), ToyTokenizer)
    assert (sample.measured, sample.tokens, sample.held_out) == (True, 6.0, 60)
    assert "300 records of" in sample.source
    share = {"train": {"uri": str(tmp_path / "messages.jsonl")}, "heldOut": {"fraction": 0.2}}
    assert read_sample(spec(tmp_path, data=share), ToyTokenizer).held_out == 60
    few = read_sample(spec(tmp_path, evaluation={"maxExamples": 7}), ToyTokenizer)
    assert few.held_out == 7


def test_lengths_are_bounded_where_they_cannot_be_measured(tmp_path: Path) -> None:
    def no_tokenizer() -> Any:
        raise UnsupportedModel("no tokenizer there")

    missing = {"train": {"uri": str(tmp_path / "nothing.jsonl")}}
    refused = {"train": {"uri": "s3://bucket/records"}}
    fields = {"classification": {"prompt": "{other}", "labels": {"0": " no", "1": " yes"}}}
    endpoint = {"uri": "log", "s3": {"endpoint": "http://127.0.0.1:9"}}
    for changes, tokenizer, why in (
        ({}, no_tokenizer, "no tokenizer there"),
        ({"data": missing}, ToyTokenizer, "nothing.jsonl"),
        ({"data": refused, "storage": endpoint}, ToyTokenizer, "127.0.0.1:9"),
        ({"objective": fields}, ToyTokenizer, "other"),
    ):
        sample = read_sample(spec(tmp_path, **changes), tokenizer)
        assert not sample.measured
        assert why in sample.source
        assert sample.tokens == 1024
    assert read_sample(spec(tmp_path, data=missing), ToyTokenizer).held_out is None


def test_a_completion_is_bounded_by_the_longest_one(tmp_path: Path) -> None:
    missing = {"train": {"uri": str(tmp_path / "nothing.jsonl")}}
    text = {"completion": {"prompt": "{a}", "completion": "{b}"}}
    sample = read_sample(spec(tmp_path, data=missing, objective=text), ToyTokenizer)
    assert sample.tokens == 1024
    assert len(sample.examples[0].candidates) == 1


def test_devices_are_found_whatever_their_case_and_refused_by_name() -> None:
    assert device("h100").name == "H100"
    assert device("CPU").is_cpu
    assert "cpu" in names()
    with pytest.raises(InvalidSpec, match="--gpu V100: unknown; the types are H100, "):
        device("V100")


def test_the_workplace_is_read_from_the_manifest(tmp_path: Path) -> None:
    content = manifest(tmp_path)
    assert workplace(write_manifest(tmp_path, content)) == (1, 1)
    content["spec"]["runtime"] = {"workers": 4, "tensorParallelSize": 2}
    assert workplace(write_manifest(tmp_path, content)) == (4, 2)
    for wrong in ("four", 0, 65, True):
        content["spec"]["runtime"] = {"workers": wrong}
        with pytest.raises(InvalidSpec, match=r"spec\.runtime\.workers: .* must be a whole number from 1 to 64"):
            workplace(write_manifest(tmp_path, content))
