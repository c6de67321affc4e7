"""The native LoRA kernel against torch's products, which it replaces, and against float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zo_runtime.vllm_ext.native.fused_lora import FusedLoRA, Layer, fused_lora
from zo_runtime.vllm_ext.runs import Run, mirrored, runs_of

BF16 = torch.bfloat16

pytestmark = pytest.mark.skipif(fused_lora(BF16, None) is None, reason="no CPU or no compiler for it")


@dataclass(frozen=True)
class Case:
    """A layer's slots, a batch of tokens, and what it is added to."""

    slots: list[int]
    rank: int
    out_sizes: list[int]
    probe: tuple[int, int] | None
    a: torch.Tensor
    b: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor

    @property
    def runs(self) -> list[Run]:
        slots, counts = torch.unique_consecutive(torch.tensor(self.slots, dtype=torch.long), return_counts=True)
        runs = runs_of(slots.tolist(), counts.tolist())
        return runs if self.probe is None else mirrored(runs)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count, rank, inputs = draw(st.integers(1, 4)), draw(st.integers(1, 13)), draw(st.integers(1, 150))
    out_sizes = draw(st.lists(st.integers(1, 100), min_size=1, max_size=3))
    runs = draw(st.lists(st.tuples(st.integers(-1, 2 * count - 1), st.integers(1, 30)), min_size=1, max_size=5))
    probe = draw(st.none() | st.tuples(st.integers(0, rank), st.integers(0, rank)).map(lambda p: (min(p), max(p))))
    slots = [slot for slot, tokens in runs for _ in range(tokens)]
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random).to(BF16)

    a = normal(2 * count, len(out_sizes) * rank, inputs)
    if probe is not None:
        a[:] = a[0].clone()
    b = torch.zeros(2 * count, len(out_sizes) * rank, sum(out_sizes), dtype=BF16)
    column = 0
    for i, size in enumerate(out_sizes):
        b[:, i * rank : (i + 1) * rank, column : column + size] = normal(2 * count, rank, size)
        column += size
    x, y = normal(len(slots), inputs), normal(len(slots), sum(out_sizes))
    return Case(slots, rank, out_sizes, probe, a, b, x, y)


def kernel(case: Case) -> FusedLoRA:
    fused = fused_lora(BF16, case.probe)
    assert fused is not None
    fused.set_runs(case.runs, torch.tensor(case.slots))
    return fused


def by_kernel(case: Case, x: torch.Tensor, y: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    assert kernel(case).add(Layer.of(case.a, case.b, case.out_sizes), x, y, scale)
    return y


def signed(case: Case, h: torch.Tensor) -> torch.Tensor:
    """The probe's columns of h negated for tokens of odd slots."""
    if case.probe is not None:
        odd = [t for t, slot in enumerate(case.slots) if slot % 2]
        h.view(len(h), -1, case.rank)[odd, :, slice(*case.probe)] *= -1
    return h


def expected(case: Case, dtype: torch.dtype, scale: float) -> torch.Tensor:
    """What torch computes in a type, h rounded to bfloat16 in any."""
    x, y, a, b = (tensor.to(dtype, copy=True) for tensor in (case.x, case.y, case.a, case.b))
    for slot, start, end in case.runs:
        h = x[start:end] @ a[slot].t()
        part = Case(case.slots[start:end], case.rank, case.out_sizes, case.probe, a, b, x, y)
        y[start:end] += scale * (signed(part, h.to(BF16)).to(dtype) @ b[slot])
    return y


def magnitude(case: Case, scale: float) -> torch.Tensor:
    """The sum of all terms' absolute values, of which a sum's error is a small share."""
    wide = [tensor.abs().double() for tensor in (case.x, case.y, case.a, case.b)]
    positive = Case(case.slots, case.rank, case.out_sizes, None, wide[2], wide[3], wide[0], wide[1])
    runs = positive.runs if case.probe is None else case.runs
    y = positive.y.clone()
    for slot, start, end in runs:
        y[start:end] += abs(scale) * (positive.x[start:end] @ positive.a[slot].t() @ positive.b[slot])
    return y


@settings(max_examples=150, deadline=None)
@given(case=cases(), scale=st.sampled_from([1.0, 0.5, -3.0]))
def test_the_sums_are_those_of_float64_and_of_torch(case: Case, scale: float) -> None:
    """Apart are only the order of float32 sums, which may round an h the other way, and the last rounding."""
    found = by_kernel(case, case.x, case.y.clone(), scale).double()
    exact = expected(case, torch.float64, scale)
    allowed = exact.abs() * 2**-8 + magnitude(case, scale) * 2**-9
    assert ((found - exact).abs() <= allowed).all()
    assert ((found - expected(case, BF16, scale).double()).abs() <= 3 * allowed).all()


@settings(max_examples=60, deadline=None)
@given(case=cases(), data=st.data())
def test_a_token_gets_the_same_bits_in_any_batch_with_any_number_of_threads(case: Case, data: st.DataObject) -> None:
    whole = by_kernel(case, case.x, case.y.clone())
    start = data.draw(st.integers(0, len(case.slots) - 1))
    cut = slice(start, data.draw(st.integers(start + 1, len(case.slots))))
    part = Case(case.slots[cut], case.rank, case.out_sizes, case.probe, case.a, case.b, case.x[cut], case.y[cut])
    before = torch.get_num_threads()
    torch.set_num_threads(data.draw(st.integers(1, 2)))
    try:
        assert torch.equal(by_kernel(part, part.x, part.y.clone()), whole[cut])
    finally:
        torch.set_num_threads(before)


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_rows_may_lie_apart_and_columns_of_x_too(case: Case) -> None:
    whole = by_kernel(case, case.x, case.y.clone())
    wide = torch.full((len(case.y), case.y.shape[1] + 5), 7.0, dtype=BF16)
    inner = wide[:, 2:-3]
    inner.copy_(case.y)
    by_kernel(case, case.x.t().contiguous().t(), inner)
    assert torch.equal(inner, whole)
    assert (wide[:, :2] == 7).all()
    assert (wide[:, -3:] == 7).all()


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_tokens_without_an_adapter_stay_as_they_are(case: Case) -> None:
    found = by_kernel(case, case.x, case.y.clone())
    bare = [t for t, slot in enumerate(case.slots) if slot < 0]
    assert torch.equal(found[bare], case.y[bare])


def small(slots: Sequence[int]) -> Case:
    ones = torch.ones(2, 1, 1, dtype=BF16)
    tokens = torch.ones(len(slots), 1, dtype=BF16)
    return Case(list(slots), 1, [1], (0, 1), ones, ones, tokens, 2 * tokens)


def test_odd_slots_get_the_minus() -> None:
    case = small([0, 0, 1, -1, 1, 0])
    assert by_kernel(case, case.x, case.y).flatten().tolist() == [3, 3, 1, 2, 1, 3]


@pytest.mark.parametrize("wrong", ["x float32", "y float32", "y by columns", "fewer tokens than the runs have"])
def test_what_the_kernel_does_not_take_stays_as_it_was(wrong: str) -> None:
    case = small([0, 1])
    x, y = case.x, torch.zeros(2, 1, dtype=BF16)
    if wrong == "x float32":
        x = x.float()
    elif wrong == "y float32":
        y = y.float()
    elif wrong == "y by columns":
        y = torch.zeros(2, 2, dtype=BF16)[:, ::2]
    else:
        x, y = x[:1], y[:1]
    assert not kernel(case).add(Layer.of(case.a, case.b, case.out_sizes), x, y, 1.0)
    assert not y.any()


def test_other_types_have_no_kernel() -> None:
    assert fused_lora(torch.float32, None) is None
