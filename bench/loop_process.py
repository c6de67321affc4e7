"""A training loop in a process of its own, stepped on request, so that vLLM cannot handicap it.

vLLM's CPU worker pins its threads to cores, replaces `torch.set_num_threads` by a no-op and sets OpenMP variables
and LD_PRELOAD, all for the process that it lives in. The loop therefore gets a fresh interpreter: start it before
vLLM, so that it has the caller's cores and environment (an allocator that the caller preloads serves both) and
its own number of threads. It waits on its standard input between steps and so costs the other sides nothing.
Lines of JSON go both ways.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zo_runtime.data.examples import Example

ROOT = Path(__file__).resolve().parents[1]


class LoopProcess:
    """A side of the step benchmark: each call runs one step in the child and returns the step's own seconds."""

    def __init__(self, loop: str, batch: Sequence[Example], threads: int, **settings: Any) -> None:
        """Start the child, load the model and wait until it is ready.

        `loop` is `lozo`, `mezo` or `ours`; `settings` are that class's arguments as JSON values. Raises SystemExit
        where the child dies.
        """
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "bench.loop_process"]
        self._name = loop
        self._child = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        request = {"loop": loop, "settings": {**settings, "threads": threads}, "batch": [asdict(e) for e in batch]}
        self.ready: dict[str, Any] = self._ask(request)
        """What the child runs with: intra-op `threads`, `cores`, `preload`ed libraries, trained `parameters`."""
        self.steps: list[dict[str, float]] = []
        """The fields of `StepResult`, one per step, warm-up included."""

    def __call__(self) -> float:
        """Run one step; seconds as the child measured them."""
        self.steps.append(self._ask("step"))
        return self.steps[-1]["seconds"]

    def use(self, batch: Sequence[Example]) -> None:
        """Take other examples from the next step on."""
        self._ask({"batch": [asdict(e) for e in batch]})

    def close(self) -> int:
        """End the child, wait for it, and return its exit status."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with suppress(BrokenPipeError):
            self._child.stdin.close()
        self._child.stdout.close()
        return self._child.wait()

    def _ask(self, request: Any) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            status = self.close()
            raise SystemExit(f"{self._name} loop: its process ended with code {status}; see its message above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def serve() -> None:
    """The child: read the settings, then run one step for each further line."""
    import torch

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    request = json.loads(sys.stdin.readline())
    loop = _make(request["loop"], request["settings"])
    batch = _examples(request["batch"])
    ready = {
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)),
        "preload": [Path(library).name for library in os.environ.get("LD_PRELOAD", "").split(":") if library],
        "parameters": loop.parameters,
    }
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked == "step":
            print(json.dumps(asdict(loop.step(batch))), file=answers, flush=True)
        else:
            batch = _examples(asked["batch"])
            print("{}", file=answers, flush=True)


def _make(name: str, settings: dict[str, Any]) -> Any:
    if name == "ours":
        from bench.sides import OursLoop

        del settings["threads"]  # vLLM chooses its own
        return OursLoop(**settings)
    from bench.forward import Variant
    from bench.lozo_loop import LozoLoop, MezoLoop

    return {"lozo": LozoLoop, "mezo": MezoLoop}[name](**settings | {"variant": Variant(settings["variant"])})


def _examples(batch: list[dict[str, Any]]) -> list[Example]:
    return [Example(tuple(e["prompt"]), tuple(map(tuple, e["candidates"])), e["target"]) for e in batch]


if __name__ == "__main__":
    serve()
