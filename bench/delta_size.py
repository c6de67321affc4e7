"""The size of a delta log beside what would be stored instead: a LoRA adapter or a checkpoint for every version.

    python -m bench.delta_size --model DIR [--steps N] [--every N] [--out DIR]

A log of N steps with losses as noisy as real ones, a version every so many steps, is written to disk once for the
layers of the model in DIR and once for those of OPT-13B. A LoRA adapter is what `zo replay` exports, in bf16; a
checkpoint is the model's weights in bf16, for OPT-13B by its number of parameters. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.command import keep, model_folder
from bench.machine import machine
from bench.report import Summary, bar_chart, summarize
from bench.serving_log import METHOD, MODULES
from zo_runtime.config.model import Model
from zo_runtime.deltalog.documents import Evaluation, ModelIdentity, RunInfo
from zo_runtime.deltalog.rows import StepRow
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.scoring.shapes import adapted_shapes
from zo_runtime.storage.local import LocalStore
from zo_runtime.zo.estimator import coefficients, learning_rate
from zo_runtime.zo.layout import BankLayout, TensorShape

OPT_13B_PARAMETERS = 12_853_473_280
BYTES_BF16 = 2
RANK, SUBSPACES = 2, 4


def opt_13b() -> BankLayout:
    """The adapted layers of OPT-13B: 40 blocks, hidden size 5120."""
    h, block = 5120, "model.decoder.layers"
    shapes = {f"self_attn.{n}_proj": (h, h) for n in ("q", "k", "v", "out")} | {"fc1": (4 * h, h), "fc2": (h, 4 * h)}
    tensors = (TensorShape(f"{block}.{i}.{name}", *shape) for i in range(40) for name, shape in shapes.items())
    return BankLayout(tuple(tensors), RANK, SUBSPACES)


def noisy_row(step: int, steps: int) -> StepRow:
    """A made-up step whose numbers are as hard to compress as a real one's."""
    rng = np.random.default_rng([7, step])
    base, slope = 0.6 + 0.1 * rng.normal(), 0.01 * rng.normal()
    plus, minus = (float(np.float32(base + sign * slope)) for sign in (1, -1))
    gradient = (plus - minus) / (2 * METHOD.epsilon)
    seconds, tokens = float(np.float32(0.3 + 0.05 * rng.random())), int(rng.integers(600, 1000))
    rate = learning_rate(3e-5, "constant", step, steps)
    made = coefficients([gradient], rate, METHOD.momentum)
    return StepRow(step, (plus,), (minus,), made, rate, (step - 1) * 16, seconds, tokens)


def log_bytes(layout: BankLayout, folder: Path, steps: int, every: int) -> int:
    """Size of a whole log on disk: run.json, segments, metrics, versions and the head."""
    store = LocalStore(folder)
    identity = ModelIdentity(name="model", digest="d" * 64, dtype="bfloat16")
    run = RunInfo.build("size", identity, layout, METHOD, {}, datetime.now(UTC))
    with LogWriter.open(store, run, data_digest="0" * 64) as writer:
        for step in range(1, steps + 1):
            writer.append(noisy_row(step, steps))
            if step % every == 0:
                writer.publish(Evaluation(loss=0.5123456, accuracy=0.7512345, examples=872), step * 16, "0" * 64)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def lora_bytes(layout: BankLayout) -> int:
    """Size of one adapter's tensors in bf16."""
    sizes = (layout.adapter_rank * (t.out_features + t.in_features) for t in layout.tensors)
    return BYTES_BF16 * sum(sizes)


def compare(layout: BankLayout, checkpoint: int, folder: Path, steps: int, every: int) -> dict[str, Any]:
    """Bytes of the three ways to keep every version."""
    versions = steps // every
    log = log_bytes(layout, folder, steps, every)
    lora, full = versions * lora_bytes(layout), versions * checkpoint
    return {
        "log_bytes": log,
        "log_bytes_a_step": round(log / steps, 2),
        "lora_bytes": lora,
        "checkpoint_bytes": full,
        "lora_over_log": round(lora / log, 1),
        "checkpoint_over_log": round(full / log),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, write `delta_size.json` and `delta_size.svg`, and end with one line of JSON."""
    parser = argparse.ArgumentParser(prog="bench.delta_size", description="Compare the size of deltas.")
    parser.add_argument("--model", type=model_folder, required=True, help="folder of the model")
    parser.add_argument("--steps", type=int, default=20_000, help="steps (default 20000)")
    parser.add_argument("--every", type=int, default=500, help="steps between versions (default 500)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="where the results go")
    given = parser.parse_args(arguments)
    before, model = machine(), given.model
    small = BankLayout(adapted_shapes(Model(name=str(model)), MODULES), RANK, SUBSPACES)
    weights = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    models = {model.name: (small, weights), "OPT-13B": (opt_13b(), BYTES_BF16 * OPT_13B_PARAMETERS)}
    result: dict[str, Any] = {"steps": given.steps, "versions": given.steps // given.every, "models": {}}
    bars: dict[str, Summary] = {}
    with tempfile.TemporaryDirectory() as name:
        for label, (layout, checkpoint) in models.items():
            folder = Path(name) / label
            found = compare(layout, checkpoint, folder, given.steps, given.every)
            result["models"][label] = found
            for side in ("log", "lora"):
                megabytes = found[f"{side}_bytes"] / 1e6
                bars[f"{label}: {side}"] = summarize([megabytes])
    result["machine"] = before
    title = f"All {result['versions']} versions of {given.steps} steps"
    keep(given.out, "delta_size", result, bar_chart(title, "MB", bars))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
