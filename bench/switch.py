"""Version switches under constant load: failed and mixed answers, latency with and without, time to the first token.

    python -m bench.switch --model DIR [--switches N] [--rollbacks N] [--out DIR]

One vLLM server with the plugin on CPU serves the log of a real model. Every version is published before, exported by
`zo replay`'s own code and loaded under a name of its own, by vLLM's `--lora-modules`, for the reference answers. Then
requests run without a pause while the desired state moves to each version, and back to earlier steps in between.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.command import keep, model_folder
from bench.machine import machine
from bench.replica import Replica
from bench.report import Summary, bar_chart, summarize
from bench.serving_load import PROMPTS, Load, Request, failed, mixed, quantile
from bench.serving_log import ServingLog
from zo_runtime.adapter.export import export_peft
from zo_runtime.adapter.replay import replay
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.serving.contract import DesiredState, Target
from zo_runtime.serving.desired import desired_path
from zo_runtime.serving.manifest import version_label
from zo_runtime.storage.local import LocalStore

NAME = "clinic"
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to do. Times are in seconds."""

    switches: int
    rollbacks: int
    quiet: float
    dwell: float
    """From a version's first token to the next wish."""
    workers: int = 4
    tokens: int = 12
    steps: int = 2
    """Steps of a version."""
    strength: float = 0.002


@dataclass(frozen=True, slots=True)
class Prepared:
    """The targets in the order of the switches, whose adapters are exported under their labels."""

    uri: str
    first: Target
    targets: tuple[Target, ...]
    digests: Mapping[str, str]
    adapters: Mapping[str, Path]


def prepare(model: Path, folder: Path, plan: Plan) -> Prepared:
    """Write the log, and export what each target has to be, from the log alone."""
    rng = random.Random(4)
    with ServingLog(LocalStore(folder / "log"), model, plan.strength) as log:
        versions = [log.publish(plan.steps) for _ in range(plan.switches + 1)]
    targets = list(versions[1:])
    for number in range(plan.rollbacks):  # spread over the switches; every other one is to a step inside a version
        place = (number + 1) * plan.switches // plan.rollbacks + number
        earlier = rng.randrange(1, place - number)
        step = earlier * plan.steps - (1 if number % 2 else 0)
        targets.insert(place, versions[earlier - 1].model_copy(update={"step": step}))
    reader, digests, adapters = LogReader(log.store), {}, {}
    for target in (versions[0], *targets):
        label = version_label(target)
        step = target.version * plan.steps if target.step is None else target.step
        bank = replay(reader, step=step, snapshot_dir=folder / "snapshots", threads=1)
        digests[label], adapters[label] = bank.digest(), folder / "references" / label
        export_peft(bank, reader.run, adapters[label])
    return Prepared(log.store.uri, versions[0], tuple(targets), digests, adapters)


def options(prepared: Prepared) -> list[str]:
    """Options of the server that loads the references beside what it follows."""
    modules = [f"{label}={path}" for label, path in prepared.adapters.items()]
    return ["--dtype", "float32", "--block-size", "32", "--lora-modules", *modules]


def references(replica: Replica, prepared: Prepared, tokens: int) -> dict[str, list[str]]:
    """What each version answers to each prompt, by the name that answers of the load carry."""
    return {
        f"{NAME}@{label}": [
            replica.complete(model=label, prompt=prompt, max_tokens=tokens)["choices"][0]["text"]
            for prompt in PROMPTS
        ]
        for label in prepared.adapters
    }


def wish(folder: Path, uri: str, target: Target) -> None:
    """Write the desired state in one step, as a mounted ConfigMap changes."""
    path = desired_path(folder, NAME)
    path.with_suffix(".tmp").write_text(DesiredState(format_version=1, name=NAME, uri=uri, target=target).to_json())
    path.with_suffix(".tmp").rename(path)


async def switch_under_load(
    replica: Replica, prepared: Prepared, plan: Plan, say: Callable[[str], None]
) -> tuple[list[Request], list[Request], list[float]]:
    """The requests without and with switches, and each switch's seconds from the wish to its first token."""
    load = Load(replica.url, replica.key, NAME, plan.workers, plan.tokens)
    load.start()
    await asyncio.sleep(plan.quiet)
    quiet, seconds = len(load.requests), []
    for number, target in enumerate(prepared.targets, 1):
        label, began = version_label(target), time.monotonic()
        wish(replica.desired, prepared.uri, target)
        while (token := load.first_token_of(f"{NAME}@{label}", began)) is None:
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise RuntimeError(f"{label} does not answer: {await asyncio.to_thread(replica.adapters)}")
            await asyncio.sleep(0.02)
        seconds.append(token - began)
        served = (await asyncio.to_thread(replica.adapters))[NAME]
        if served.digest != prepared.digests[label]:
            raise RuntimeError(f"{label} has the digest {served.digest}, not that of the replay")
        say(f"switch {number}/{len(prepared.targets)}: {label} after {seconds[-1]:.2f} s")
        await asyncio.sleep(plan.dwell)
    await load.stop()
    return load.requests[:quiet], load.requests[quiet:], seconds


def measure(replica: Replica, prepared: Prepared, plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Carry the plan out on a server that serves the first target; the figures."""
    expected = references(replica, prepared, plan.tokens)
    say("the reference answers are there; the load begins")
    before = _cache_hits(replica)
    quiet, switching, seconds = asyncio.run(switch_under_load(replica, prepared, plan, say))
    hits = _cache_hits(replica) - before
    metrics = replica.get("/metrics").decode()
    latencies = {"without": [r.seconds for r in quiet], "during": [r.seconds for r in switching]}
    return {
        "switches": plan.switches,
        "rollbacks": plan.rollbacks,
        "requests": len(quiet) + len(switching),
        "failed": failed([*quiet, *switching]),
        "mixed": [sorted(r.versions) for r in mixed([*quiet, *switching], expected)],
        "different_answers": len({text for texts in expected.values() for text in texts}),
        "prefix_cache_hit_tokens": hits,
        "latency_seconds": {
            f"p{100 * share:.0f}_{when}": round(quantile(values, share), 3)
            for when, values in latencies.items()
            for share in (0.5, 0.99)
        },
        "switch_seconds": {"median": round(quantile(seconds, 0.5), 3), "greatest": round(max(seconds), 3)},
        "load_seconds_mean": round(
            _metric(metrics, "zo_serving_load_seconds_sum") / _metric(metrics, "zo_serving_load_seconds_count"), 4
        ),
    }


def _cache_hits(replica: Replica) -> float:
    return _metric(replica.get("/metrics").decode(), "vllm:prefix_cache_hits_total")


def _metric(text: str, name: str) -> float:
    values = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(f"{name}{{")]
    return sum(float(value) for value in values)


def say(line: str) -> None:
    """Tell how it goes."""
    print(line, flush=True)


def picture(result: Mapping[str, Any]) -> str:
    """Latencies without and during switches, and the time of a switch."""
    found = result["latency_seconds"]
    names = [
        (f"latency {share}, {when}", f"{share}_{when}") for share in ("p50", "p99") for when in ("without", "during")
    ]
    bars = {name: summarize([found[key]]) for name, key in names}
    median, greatest = result["switch_seconds"]["median"], result["switch_seconds"]["greatest"]
    bars["a switch (line: longest)"] = Summary(median, median, greatest)
    return bar_chart(f"{result['requests']} requests without and during {result['switches']} switches", "s", bars)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, write `switch.json` and `switch.svg`, and end with one line of JSON."""
    parser = argparse.ArgumentParser(prog="bench.switch", description="Switch versions under constant load.")
    parser.add_argument("--model", type=model_folder, required=True, help="folder of the model")
    parser.add_argument("--switches", type=int, default=50, help="forward switches (default 50)")
    parser.add_argument("--rollbacks", type=int, default=10, help="rollbacks among them (default 10)")
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds of load before the first (default 60)")
    parser.add_argument("--dwell", type=float, default=4.0, help="seconds between two (default 4)")
    parser.add_argument("--workers", type=int, default=4, help="requests at a time (default 4)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="where the JSON and picture go")
    given = parser.parse_args(arguments)
    plan = Plan(given.switches, given.rollbacks, given.quiet, given.dwell, given.workers)
    before = machine()
    model, extra = given.model, ("--worker-extension-cls", "zo_runtime.vllm_ext.cpu_lora.RunwiseServing")
    with tempfile.TemporaryDirectory() as name:
        prepared = prepare(model, Path(name), plan)
        replica = Replica(model, Path(name), options=[*options(prepared), *extra])
        wish(replica.desired, prepared.uri, prepared.first)
        say(f"the log has {plan.switches + 1} versions; starting the server")
        with replica:
            result = measure(replica, prepared, plan, say)
    result |= {"model": given.model.name, "workers": plan.workers, "tokens": plan.tokens, "machine": before}
    keep(given.out, "switch", result, picture(result))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
