"""The sides of the step benchmark that run in vLLM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from zo_runtime.data.examples import Example

Side = Callable[[], float]
"""Does one unit of work (a step, or one forward of the batch) and returns its wall seconds."""


def ours_and_forward(
    model_dir: Path,
    examples: Sequence[Example],
    *,
    rank: int,
    interval: int,
    epsilon: float,
    learning_rate: float,
    seed: int,
    threads: int,
) -> tuple[Side, Side, Callable[[], None]]:
    """One step of ours, vLLM's plain forward of the same prompts, and what shuts the engine down."""
    raise SystemExit("bench: the vLLM sides are not connected yet, so there is nothing to compare with")
