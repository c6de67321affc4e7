"""A serving replica killed at random moments of switches: what it serves when it is back, and what its disk holds.

    python -m bench.replica_kills --model DIR [--kills N] [--out DIR]

One vLLM server with the plugin on CPU. For each kill a new version is desired, and after a random time the server and
all its processes get SIGKILL. Whatever is on disk then must be whole or be no adapter, and the server, started again,
must answer its first request with the desired version. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.command import keep, model_folder
from bench.machine import machine
from bench.replica import Replica
from bench.serving_log import ServingLog
from bench.switch import NAME, say, wish
from zo_runtime.serving.cache import AdapterCache
from zo_runtime.serving.contract import Target
from zo_runtime.storage.local import LocalStore

# Longer than a build and a load take here, so that kills fall before, into and after each of them.
LONGEST_WAIT = 2.0
VERSION_STEPS = 40


def kill_one(replica: Replica, uri: str, target: Target, wait: float) -> dict[str, Any]:
    """Desire a version, kill the server after `wait` seconds, start it again, and look at what it serves."""
    wish(replica.desired, uri, target)
    time.sleep(wait)
    before = replica.adapters()[NAME]
    replica.kill()
    adapters = list((replica.cache / "adapters").iterdir())
    broken = [path.name for path in adapters if AdapterCache(replica.cache).find(path.name) is None]
    began = time.monotonic()
    replica.start()
    replica.wait_ready()
    first = replica.complete(model=NAME, prompt="hello", max_tokens=1)["model"]
    after = replica.adapters()[NAME]
    return {
        "killed_after": round(wait, 2),
        "killed_in": before.state,
        "broken_adapters": broken,
        "first_answer": first,
        "desired": target.version,
        "served": after.version,
        "ready_seconds": round(time.monotonic() - began, 1),
    }


def right(found: dict[str, Any]) -> bool:
    """Whether the first answer and the report were the desired version's, and no half adapter was on disk."""
    wanted = found["desired"]
    return (
        not found["broken_adapters"]
        and found["served"] == wanted
        and found["first_answer"].startswith(f"{NAME}@v{wanted}-")
    )


def measure(model: Path, folder: Path, kills: int) -> dict[str, Any]:
    """Kill and look, `kills` times."""
    rng = random.Random(8)
    with ServingLog(LocalStore(folder / "log"), model, 0.02) as log:
        first, *targets = [log.publish(VERSION_STEPS) for _ in range(kills + 1)]
    replica = Replica(model, folder, options=("--dtype", "float32"))
    wish(replica.desired, log.store.uri, first)
    found = []
    with replica:
        for number, target in enumerate(targets, 1):
            found.append(kill_one(replica, log.store.uri, target, rng.uniform(0.0, LONGEST_WAIT)))
            say(f"kill {number}/{kills}: {json.dumps(found[-1])}")
    in_states = {state: sum(one["killed_in"] == state for one in found) for state in {o["killed_in"] for o in found}}
    return {
        "kills": kills,
        "wrong": [one for one in found if not right(one)],
        "killed_in": in_states,
        "ready_seconds": {"greatest": max(one["ready_seconds"] for one in found)},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, write `replica_kills.json`, and end with one line of JSON; exit code 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="bench.replica_kills", description="Kill a replica at random moments.")
    parser.add_argument("--model", type=model_folder, required=True, help="folder of the model")
    parser.add_argument("--kills", type=int, default=20, help="how often (default 20)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="where the JSON goes")
    given = parser.parse_args(arguments)
    before = machine()
    with tempfile.TemporaryDirectory() as name:
        result = measure(given.model, Path(name), given.kills)
    result |= {"model": given.model.name, "machine": before}
    keep(given.out, "replica_kills", result)
    print(json.dumps(result))
    raise SystemExit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
