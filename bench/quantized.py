"""Quantized bases against the full-precision one: the same run by `zo run` on each, and what each has learned.

    python -m bench.quantized --model DIR [--bases NAME ...] [--steps N] [--epsilon E] [--work DIR] [--out DIR]

The copies are made by tools.quantize. Data is SST-2, or the demo's messages where that is not at hand. With `--work`
the copies, logs and results are kept there: what was interrupted goes on. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tools.quantize import FORMATS, quantize

from bench.command import keep, model_folder
from bench.data import LABEL_WORDS, MESSAGES, SST2
from bench.machine import machine
from bench.report import Summary, bar_chart
from zo_runtime.config.storage import S3
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.storage.open import open_store

PLAIN = "plain"
# What vLLM quantizes itself when it loads the plain checkpoint: `spec.model.quantization`.
ONLINE = ("fp8_per_channel",)
BASES = (PLAIN, "int8", "int4", "awq", "gptq", "fp8-rows", *ONLINE)
POINTS = 2.0
"""A quantized base has learned as the plain one when its accuracy is at most this much lower."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, write `quantized.json` and `quantized.svg`, and end with one line of JSON."""
    options = _options(arguments)
    before = machine()
    data, source = _data()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(options.work or temporary).resolve()
        work.mkdir(parents=True, exist_ok=True)
        bases = {name: _result(name, options, work, data) for name in options.bases}
    settings = {"model": options.model.name, "data": source, **_optimizer(options)}
    result = {"bases": compared(bases), "setting": settings, "machine": before}
    name = "quantized" if options.epsilon is None else "quantized_epsilon"
    keep(options.out, name, result, _picture(bases, options.steps))
    print(json.dumps(result))


def compared(bases: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each base's result, with what it lost against the plain one in points of accuracy, if that one has run."""
    plain = bases.get(PLAIN)
    if plain is None:
        return {name: dict(found) for name, found in bases.items()}
    best = _last(plain)["accuracy"]
    lost = {name: round(100 * (best - _last(found)["accuracy"]), 2) for name, found in bases.items()}
    return {
        name: {**found, "points_lost": lost[name], "learned_as_plain": lost[name] <= POINTS}
        for name, found in bases.items()
    }


def _last(found: Mapping[str, Any]) -> dict[str, float]:
    evaluation: dict[str, float] = found["evaluations"][-1]
    return evaluation


def _result(name: str, options: argparse.Namespace, work: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """A base's run, or what an earlier one has left."""
    kept = work / f"{_run_name(name, options)}.json"
    if not kept.exists():
        kept.write_text(json.dumps(_run(name, options, work, data)))
    found: dict[str, Any] = json.loads(kept.read_text())
    print(
        f"{name:16} {100 * _last(found)['accuracy']:6.2f} %  {found['step_seconds']['tenth']:6.3f} s a step",
        flush=True,
    )
    return found


def _run(name: str, options: argparse.Namespace, work: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    model: dict[str, Any] = {"name": str(options.model), "maxLength": 128}
    if name in FORMATS:
        copy = work / name
        model["name"] = str(copy if copy.exists() else quantize(options.model, copy, name))
    elif name in ONLINE:
        model["quantization"] = name
    log = work / f"{_run_name(name, options)}-log"
    document = {
        "apiVersion": "zofinetune.io/v1alpha1",
        "kind": "ZOFineTune",
        "metadata": {"name": "quantized"},
        "spec": {
            "model": model,
            "data": data,
            "objective": _objective(),
            "optimizer": _optimizer(options),
            "evaluation": {"every": options.every, "maxLossIncrease": 100.0},
            "storage": {"uri": str(log)},
            "metrics": {"port": 0},
        },
    }
    manifest = work / f"{name}.yaml"
    manifest.write_text(json.dumps(document))  # JSON is YAML
    command = [str(Path(sys.executable).with_name("zo")), "run", str(manifest)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: zo run ended with {done.returncode}")
    reader = LogReader(open_store(str(log), S3()))
    evaluations = [
        {"step": version.last_step, "accuracy": found.accuracy, "loss": round(found.loss, 5)}
        for version in reader.versions()
        if (found := version.evaluation) is not None
    ]
    weights = sum(file.stat().st_size for file in Path(model["name"]).glob("*.safetensors"))
    seconds = sorted(step.step_seconds for step in reader.metrics())
    return {
        "checkpoint_bytes": weights,
        "digest": json.loads(done.stdout.splitlines()[-1])["digest"],
        # Beside other work most steps are slow; the fastest tenth tells more.
        "step_seconds": {"median": round(median(seconds), 3), "tenth": round(seconds[len(seconds) // 10], 3)},
        "evaluations": evaluations,
    }


def _data() -> tuple[dict[str, Any], str]:
    """`spec.data`, and the data's name."""
    if SST2.is_file():
        columns = {"columns": ["text", "sentiment"]}
        dev = SST2.with_name("dev.tsv")
        return {"train": {"uri": str(SST2), **columns}, "evaluation": {"uri": str(dev), **columns}}, "SST-2"
    if not MESSAGES.is_file():
        raise SystemExit(f"data: neither {SST2} nor {MESSAGES} is here: run `make bench`, which fetches them")
    return {"train": {"uri": str(MESSAGES)}, "heldOut": {"examples": 800}}, "messages"


def _objective() -> dict[str, Any]:
    keys = ("0", "1") if SST2.is_file() else ("negative", "positive")
    labels = dict(zip(keys, LABEL_WORDS, strict=True))
    return {"classification": {"prompt": "{text} It was", "labelField": "sentiment", "labels": labels}}


def _run_name(base: str, options: argparse.Namespace) -> str:
    return f"{base}-{options.steps}" + ("" if options.epsilon is None else f"-{options.epsilon:g}")


def _optimizer(options: argparse.Namespace) -> dict[str, Any]:
    common = {"steps": options.steps, "batchSize": 32, "learningRate": 3e-5}
    common |= {"rank": 2, "subspaces": 4, "interval": 50}
    return common if options.epsilon is None else common | {"epsilon": options.epsilon}


def _picture(bases: Mapping[str, Mapping[str, Any]], steps: int) -> str:
    bars = {}
    for name, found in bases.items():
        accuracies = [100 * evaluation["accuracy"] for evaluation in found["evaluations"]]
        bars[name] = Summary(accuracies[-1], accuracies[0], max(accuracies))
    return bar_chart(f"Held-out accuracy after {steps} steps (line: before, and the best evaluation)", "%", bars)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.quantized", description="What quantized bases learn.")
    parser.add_argument("--model", type=model_folder, required=True, help="folder of the full-precision model")
    parser.add_argument("--bases", nargs="+", choices=BASES, default=BASES, help="which (default all)")
    parser.add_argument("--steps", type=int, default=300, help="steps of each run (default 300)")
    parser.add_argument("--every", type=int, default=100, help="steps between evaluations (default 100)")
    parser.add_argument("--epsilon", type=float, help="spec.optimizer.epsilon (default the manifest's)")
    parser.add_argument("--work", type=Path, help="where copies, logs and results are kept (default: nowhere)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="where the JSON and picture go")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
