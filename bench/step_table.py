"""One training step over batch sizes and lengths: the LOZO loop, ours, and vLLM's plain forward, in one run.

    python -m bench.step_table --model DIR [--batches 4 16 64] [--lengths 32 128 512] [--seconds S] [--out DIR]

All prompts of a cell have the same length, so that nothing is padded: the LOZO loop's waste on batches of unequal
prompts, which `bench.step` shows, is not in this table. The LOZO loop runs with one sequence for each example, as
ours does, and as its authors' script runs it, with one for each label; the latter up to 8,192 tokens, for it keeps
the logits of all positions. The last line is JSON. A cell is measured for about S seconds after a round of warm-up,
and at least once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

from bench.command import keep, model_folder
from bench.data import load_examples
from bench.loop_process import LoopProcess
from bench.machine import machine
from bench.report import Series, line_chart, pairwise_ratios, run_rounds, summarize
from bench.sides import OursLoop, PlainForward, Side
from zo_runtime.data.examples import Example

MOST_ROUNDS = 7
MOST_TOKENS_BY_LABEL = 8192


def of_length(examples: Sequence[Example], count: int, tokens: int) -> list[Example]:
    """`count` examples whose prompts have exactly `tokens` tokens, cut out of the given ones' text in turn."""
    text = cycle(list(chain.from_iterable(example.prompt for example in examples)))
    return [
        Example(tuple(islice(text, tokens)), example.candidates, example.target)
        for example in islice(cycle(examples), count)
    ]


def rounds_for(first: float, budget: float) -> int:
    """Rounds of about `first` seconds that a budget of seconds allows, from 1 to MOST_ROUNDS."""
    return max(1, min(MOST_ROUNDS, int(budget / first)))


def cell(sides: Mapping[str, Side], budget: float) -> dict[str, Any]:
    """Median seconds of each side, the medians of the ratios round by round, and the rounds."""
    warm = run_rounds(sides, 1, warmup=0)
    rounds = rounds_for(sum(values[0] for values in warm.values()), budget)
    seconds = run_rounds(sides, rounds, warmup=0)
    pairs = {f"{name}_over_ours": (name, "ours") for name in ("lozo", "candidates") if name in seconds}
    pairs["ours_over_forward"] = ("ours", "forward")
    return {
        **{f"{name}_seconds": round(summarize(values).median, 4) for name, values in seconds.items()},
        **{key: round(summarize(pairwise_ratios(seconds[a], seconds[b])).median, 3) for key, (a, b) in pairs.items()},
        "rounds": rounds,
    }


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All cells, the cheapest first, each told on stdout when it is done."""
    examples, _ = load_examples(options.model, 64)
    sizes = sorted(((b, t) for b in options.batches for t in options.lengths), key=lambda size: size[0] * size[1])
    found = []
    with ExitStack() as stack:
        settings = {"model_dir": str(options.model), "rank": 2, "interval": 50}
        loops = {
            name: LoopProcess("lozo", examples[:1], options.threads, variant=variant, **settings)
            for name, variant in (("lozo", "one-sequence"), ("candidates", "candidates"))
        }
        for loop in loops.values():
            stack.callback(loop.close)
        forward, ours = PlainForward(options.model), OursLoop(str(options.model))
        stack.callback(forward.close)
        stack.callback(ours.close)
        for batch_size, tokens in sizes:
            batch = of_length(examples, batch_size, tokens)
            here = {
                name: loop
                for name, loop in loops.items()
                if name != "candidates" or batch_size * tokens <= MOST_TOKENS_BY_LABEL
            }
            for loop in here.values():
                loop.use(batch)
            sides: dict[str, Side] = {
                **here,
                "ours": lambda batch=batch: ours.step(batch).seconds,
                "forward": lambda batch=batch: forward.run(batch),
            }
            found.append({"batch": batch_size, "tokens": tokens, **cell(sides, options.seconds)})
            print(json.dumps(found[-1]), flush=True)
    return sorted(found, key=lambda row: (row["batch"], row["tokens"]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, write `step_table.json` and `step_table.svg`, and end with one line of JSON."""
    parser = argparse.ArgumentParser(prog="bench.step_table", description="Time a step over sizes of batches.")
    parser.add_argument("--model", type=model_folder, required=True, help="folder of the model")
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 16, 64], help="prompts (default 4 16 64)")
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 128, 512], help="tokens (default 32 128 512)")
    parser.add_argument("--seconds", type=float, default=40.0, help="for each cell, about (default 40)")
    parser.add_argument("--threads", type=int, default=2, help="intra-op threads of every side (default 2)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="where the results go")
    options = parser.parse_args(arguments)
    before = machine()
    rows = measure(options)
    result = {"model": options.model.name, "threads": options.threads, "rows": rows, "machine": before}
    lines = [
        Series(label, [(_size(row), row[key]) for row in sorted(rows, key=_size) if key in row])
        for label, key in (
            ("LOZO loop, 1 sequence/label / ours", "candidates_over_ours"),
            ("LOZO loop / ours", "lozo_over_ours"),
            ("ours / plain forward", "ours_over_forward"),
        )
    ]
    chart = line_chart("One step", "prompt tokens in the batch", "ratio", lines)
    keep(options.out, "step_table", result, chart)
    print(json.dumps(result))


def _size(row: Mapping[str, Any]) -> int:
    return int(row["batch"] * row["tokens"])


if __name__ == "__main__":
    main()
