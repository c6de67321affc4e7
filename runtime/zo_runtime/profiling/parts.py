"""From the operations that a profiler saw to the parts of a step. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PROBE, UPDATE = "zo: probe", "zo: update"
"""Labels that the worker puts around its own work; whatever runs inside of one belongs to it."""

LINEAR, LORA, ATTENTION, SMALL = "linear layers", "LoRA products", "attention", "norms, activations, rotary"
SLOTS, HEAD, OTHER, PYTHON = "directions and slots", "reading scores", "other operations", "Python, and waiting"

# The first that matches. On CPU vLLM's linear layers have a kernel of their own, so that plain products are LoRA's.
_RULES: Sequence[tuple[str, re.Pattern[str]]] = tuple(
    (part, re.compile(pattern, re.IGNORECASE))
    for part, pattern in (
        (LORA, r"lora|sgmv|bgmv|^aten::(mm|addmm_)$"),
        (ATTENTION, r"attention|attn|flash|fmha|kv_cache|slot_mapping"),
        (SMALL, r"norm|silu|gelu|relu|rotary|^aten::(mul|add_?|sigmoid)$"),
        (HEAD, r"softmax|argmax|top_?k|gather|index_select|sampl"),
        (LINEAR, r"onednn|gemm|cutlass|cublas|nvjet|scaled_mm|matmul|aten::(linear|addmm|bmm)|int8|awq|gptq|marlin"),
        (SLOTS, r"zo_|philox|foreach_copy"),
    )
)


@dataclass(frozen=True, slots=True)
class Span:
    """One operation: its own seconds, without those of the operations inside of it, and the labels around it."""

    name: str
    seconds: float
    within: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """What one part takes of a step: milliseconds, share of the whole, and operations a step."""

    name: str
    milliseconds: float
    share: float
    operations: float


def part_of(span: Span) -> str:
    """The part of a step that an operation belongs to."""
    if PROBE in span.within or UPDATE in span.within or span.name in {PROBE, UPDATE}:
        return SLOTS
    return next((part for part, pattern in _RULES if pattern.search(span.name)), OTHER)


def breakdown(spans: Iterable[Span], steps: int, seconds: float) -> list[Part]:
    """The parts of a step, the largest first, from what ran in `steps` steps that took `seconds` in all. What no
    operation accounts for is Python's, or waiting."""
    sums: dict[str, tuple[float, int]] = {}
    for span in spans:
        spent, count = sums.get(part_of(span), (0.0, 0))
        sums[part_of(span)] = spent + span.seconds, count + 1
    rest = max(0.0, seconds - sum(spent for spent, _ in sums.values()))
    rows = [(name, spent, count) for name, (spent, count) in sums.items()] + [(PYTHON, rest, 0)]
    return [
        Part(name, 1e3 * spent / steps, spent / seconds, count / steps)
        for name, spent, count in sorted(rows, key=lambda row: -row[1])
    ]


def table(parts: Sequence[Part], steps: int, seconds: float) -> str:
    """The parts as lines of text, a heading above them and the whole step below."""
    lines = [f"{'part of a step':28} {'ms':>9} {'share':>7} {'operations':>11}"]
    for part in parts:
        count = f"{part.operations:,.0f}" if part.operations else ""
        lines.append(f"{part.name:28} {part.milliseconds:9.2f} {part.share:7.1%} {count:>11}".rstrip())
    return "\n".join([*lines, f"{'a step, mean of ' + str(steps):28} {1e3 * seconds / steps:9.2f}"])
