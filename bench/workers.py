"""Real workers, each with one core: the time of a step, and the digest that must not depend on their number.

    python -m bench.workers --model DIR [--workers 1 2] [--steps N] [--out DIR]

Each run is `zo run` of one manifest, as many processes as workers, worker i bound to core i. More workers than cores
measure nothing and are refused. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.command import keep, model_folder
from bench.data import LABEL_WORDS, load_records
from bench.machine import machine
from bench.report import bar_chart, summarize
from zo_runtime.config.storage import S3
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.storage.open import open_store

ZO = Path(sys.executable).with_name("zo")
WARM_UP = 3
RECORDS = 600


def document(model: Path, data: Path, log: Path, steps: int, batch: int) -> dict[str, Any]:
    """The manifest of every run."""
    labels = dict(zip(("0", "1"), LABEL_WORDS, strict=True))
    return {
        "apiVersion": "zofinetune.io/v1alpha1",
        "kind": "ZOFineTune",
        "metadata": {"name": "workers"},
        "spec": {
            "model": {"name": str(model), "maxLength": 128},
            "data": {"train": {"uri": str(data)}, "heldOut": {"examples": 32}},
            "objective": {"classification": {"prompt": "{text} It was", "labels": labels}},
            "optimizer": {"steps": steps, "batchSize": batch, "learningRate": 3e-5},
            "evaluation": {"every": steps},
            "storage": {"uri": str(log)},
            "metrics": {"port": 0},
        },
    }


def run(manifest: Path, workers: int) -> dict[str, Any]:
    """The leader's result of a run by so many workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"ZO_RENDEZVOUS": f"127.0.0.1:{free.getsockname()[1]}", "ZO_WORKERS": str(workers)}
    cores = sorted(os.sched_getaffinity(0))
    processes = []
    for rank in range(workers):
        environment = os.environ | (place | {"JOB_COMPLETION_INDEX": str(rank)} if workers > 1 else {})
        command = ["taskset", "--cpu-list", str(cores[rank]), str(ZO), "run", str(manifest)]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{workers} workers: zo run ended with {[process.returncode for process in processes]}")
    result: dict[str, Any] = json.loads(said[0].splitlines()[-1])
    return result


def measure(options: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """A row for each number of workers."""
    data = work / "data.jsonl"
    records, _ = load_records(RECORDS)
    data.write_text("".join(json.dumps({"text": text, "label": str(label)}) + "\n" for text, label in records))
    rows = []
    for workers in options.workers:
        log, manifest = work / f"log-{workers}", work / f"{workers}.yaml"
        manifest.write_text(json.dumps(document(options.model, data, log, options.steps, options.batch)))
        digest = run(manifest, workers)["digest"]
        steps = [step.step_seconds for step in LogReader(open_store(str(log), S3())).metrics()][WARM_UP:]
        rows.append({"workers": workers, "step_seconds": round(median(steps), 4), "digest": digest})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Whether all digests are one, and the speed of each number of workers over that of the first."""
    first = rows[0]["step_seconds"]
    return {
        "same_digest": len({row["digest"] for row in rows}) == 1,
        "speedup": {str(row["workers"]): round(first / row["step_seconds"], 3) for row in rows},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, write `workers.json` and `workers.svg`, and end with one line of JSON."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="bench.workers", description="Time steps shared by workers.")
    parser.add_argument("--model", type=model_folder, required=True, help="folder of the model")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="how many, in turn (default 1 2)")
    parser.add_argument("--steps", type=int, default=30, help="steps of each run (default 30)")
    parser.add_argument("--batch", type=int, default=16, help="examples of a step (default 16)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="where the results go")
    options = parser.parse_args(arguments)
    if max(options.workers) > cores:
        parser.error(f"--workers {max(options.workers)}: this machine has {cores} cores, and each worker needs one")
    before = machine()
    with tempfile.TemporaryDirectory() as work:
        rows = measure(options, Path(work))
    setting = {"steps": options.steps, "batch": options.batch, "model": options.model.name}
    result = {"rows": rows, **summary(rows), "setting": setting, "machine": before}
    bars = {f"{row['workers']} of one core": summarize([row["step_seconds"]]) for row in rows}
    keep(options.out, "workers", result, bar_chart("One step by several workers", "s", bars))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
