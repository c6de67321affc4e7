"""The parts of a step: every operation counts once, and what none accounts for is not lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.profiling.parts import (
    ATTENTION,
    HEAD,
    LINEAR,
    LORA,
    OTHER,
    PROBE,
    PYTHON,
    SLOTS,
    SMALL,
    Span,
    breakdown,
    part_of,
    table,
)

NAMES = {
    "_C::onednn_mm": LINEAR,
    "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn": LINEAR,
    "nvjet_tst_128x256_64x4_1x2_h_bz_coopA_NTN": LINEAR,
    "aten::addmm_": LORA,
    "aten::mm": LORA,
    "_lora_expand_kernel": LORA,
    "_C::cpu_attention_with_kv_cache": ATTENTION,
    "flash_fwd_splitkv_kernel": ATTENTION,
    "vllm::unified_kv_cache_update": ATTENTION,
    "_C::fused_add_rms_norm": SMALL,
    "_C::silu_and_mul": SMALL,
    "_C::rotary_embedding": SMALL,
    "aten::_log_softmax": HEAD,
    "aten::copy_": OTHER,
    "aten::_foreach_copy_": SLOTS,
}


@pytest.mark.parametrize(("name", "part"), NAMES.items())
def test_names_of_operations(name: str, part: str) -> None:
    assert part_of(Span(name, 1.0)) == part


def test_what_runs_inside_a_label_is_the_label_s() -> None:
    assert part_of(Span("aten::copy_", 1.0, ("aten::to", PROBE))) == SLOTS


@given(
    st.lists(st.builds(Span, st.sampled_from(sorted(NAMES)), st.floats(0, 5)), max_size=30),
    st.integers(1, 9),
    st.floats(0, 9),
)
def test_the_parts_are_the_whole(spans: list[Span], steps: int, idle: float) -> None:
    seconds = sum(span.seconds for span in spans) + idle + 1e-3
    parts = breakdown(spans, steps, seconds)
    assert sum(part.share for part in parts) == pytest.approx(1)
    assert sum(part.milliseconds for part in parts) == pytest.approx(1e3 * seconds / steps)
    assert sum(part.operations for part in parts) == pytest.approx(len(spans) / steps)
    assert [part.milliseconds for part in parts] == sorted((part.milliseconds for part in parts), reverse=True)


def test_the_table_has_a_line_for_each_part_and_one_for_the_step() -> None:
    spans = [Span("_C::onednn_mm", 0.8), Span("aten::mm", 0.1)]
    lines = table(breakdown(spans, 2, 1.0), 2, 1.0).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "part of a step ms share operations",
        f"{LINEAR} 400.00 80.0% 0",
        *sorted([f"{LORA} 50.00 10.0% 0", f"{PYTHON} 50.00 10.0%"], key=lambda line: line.startswith(PYTHON)),
        "a step, mean of 2 500.00",
    ]
