"""One training step: the LOZO loop, ours, and vLLM's plain forward of the same prompts, in one run.

    python -m bench.step --model DIR [--rounds N] [--also candidates tuned mezo] [--out DIR]

The sides take turns on the same cores, so that a drift of the machine cancels in the ratio of each round; the
last line is JSON. The loops run in child processes (see loop_process), one at a time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.command import keep, model_folder
from bench.data import load_examples
from bench.loop_process import LoopProcess
from bench.machine import machine
from bench.report import bar_chart, pairwise_ratios, run_rounds, summarize
from bench.sides import Side, ours_and_forward
from zo_runtime.data.examples import Example

LABELS = {
    "lozo": "LOZO loop",
    "ours": "ours",
    "forward": "vLLM plain forward",
    "candidates": "LOZO, 1 sequence/label",
    "tuned": "LOZO, tuned",
    "mezo": "MeZO loop",
}
EXTRA_COLUMNS = ("candidates", "tuned", "mezo")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, write `step.json` and `step.svg`, and end with one line of JSON."""
    options = _options(arguments)
    before = machine()
    examples, source = load_examples(options.model, options.examples)
    optimizer = {"epsilon": options.epsilon, "learning_rate": options.learning_rate, "seed": options.seed}
    low_rank = {"rank": options.rank, "interval": options.interval}
    with ExitStack() as stack:
        loops = _start_loops(stack, options, examples, optimizer, low_rank)
        ours, forward, close = ours_and_forward(options.model, examples, **optimizer, **low_rank)
        stack.callback(close)
        sides: dict[str, Side] = {"lozo": loops["lozo"], "ours": ours, "forward": forward, **loops}
        seconds = run_rounds(sides, options.rounds, warmup=2)
        ready = loops["lozo"].ready
    settings = {"examples": len(examples), "tokens": sum(len(e.prompt) for e in examples), "data": source}
    result = {
        **ratios(seconds),
        "rounds": options.rounds,
        "setting": settings | low_rank | optimizer | ready,
        "machine": before,
        "seconds": seconds,
    }
    bars = {LABELS[name]: summarize(values) for name, values in seconds.items()}
    title = f"One step, {len(examples)} prompts, {ready['threads']} threads (median, least to greatest)"
    keep(options.out, "step", result, bar_chart(title, "s", bars))
    for label, bar in bars.items():
        print(f"{label:24} {bar.median:8.3f} s  ({bar.least:.3f} to {bar.greatest:.3f})")
    print(json.dumps({key: value for key, value in result.items() if key != "seconds"}))


def ratios(seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The headline: medians in seconds, medians of the round-by-round ratios, and the ratios' spread.

    `lozo_over_ours` has the LOZO loop score one sequence for each example, as ours does; `candidates_over_ours` has
    it run as its authors' script does, with one sequence for each label.
    """
    lozo = summarize(pairwise_ratios(seconds["lozo"], seconds["ours"]))
    forward = summarize(pairwise_ratios(seconds["ours"], seconds["forward"]))
    medians = {f"{name}_seconds": round(summarize(values).median, 4) for name, values in seconds.items()}
    extra = {
        f"{name}_over_ours": round(summarize(pairwise_ratios(seconds[name], seconds["ours"])).median, 3)
        for name in EXTRA_COLUMNS
        if name in seconds
    }
    return {
        "lozo_over_ours": round(lozo.median, 3),
        "ours_over_forward": round(forward.median, 3),
        **extra,
        **medians,
        "spread": {
            "lozo_over_ours": [round(lozo.least, 3), round(lozo.greatest, 3)],
            "ours_over_forward": [round(forward.least, 3), round(forward.greatest, 3)],
        },
    }


def _start_loops(
    stack: ExitStack,
    options: argparse.Namespace,
    examples: Sequence[Example],
    optimizer: Mapping[str, Any],
    low_rank: Mapping[str, Any],
) -> dict[str, LoopProcess]:
    """The LOZO loop and the asked-for extra columns, each in its own process, before vLLM is imported."""
    loops: dict[str, LoopProcess] = {}
    for name in ("lozo", *options.also):
        settings = {"model_dir": str(options.model), "variant": "one-sequence", **optimizer}
        if name in {"candidates", "tuned"}:
            settings["variant"] = name
        if name != "mezo":
            settings |= low_rank
        loops[name] = LoopProcess("mezo" if name == "mezo" else "lozo", examples, options.threads, **settings)
        stack.callback(loops[name].close)
    return loops


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.step", description="Time one training step against the LOZO loop.")
    parser.add_argument("--model", type=model_folder, required=True, help="folder of the model")
    parser.add_argument("--rounds", type=_count, default=15, help="measured rounds (default 15)")
    parser.add_argument("--examples", type=_count, default=16, help="prompts in the batch (default 16)")
    parser.add_argument("--threads", type=_count, default=2, help="intra-op threads of every side (default 2)")
    parser.add_argument("--rank", type=_count, default=2, help="rank r of a direction (default 2)")
    parser.add_argument("--interval", type=_count, default=50, help="steps in one subspace (default 50)")
    parser.add_argument("--epsilon", type=float, default=2**-10, help="perturbation (default 2^-10)")
    parser.add_argument("--learning-rate", type=float, default=3e-5, help="step size (default 3e-5)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the directions (default 0)")
    parser.add_argument("--also", nargs="*", choices=EXTRA_COLUMNS, default=("candidates",), help="columns")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="where the JSON and picture go")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


if __name__ == "__main__":
    main()
