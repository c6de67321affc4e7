"""Who plays: the model, the server that serves it, and how fast it learns. Tests have a cast that needs no engine."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.story.clients import BASE

from fakes.kube_node import image_of_this_machine


@dataclass(frozen=True, slots=True)
class Cast:
    """What differs between the story and a rehearsal."""

    model: str
    """The base model, as the manifest names it."""
    server: Sequence[str]
    """Command of a serving replica, but for its address."""
    optimizer: Mapping[str, Any]
    """`spec.optimizer`."""
    image: Mapping[str, str]
    """What an image would bring as variables: above all, where its programs are."""
    replicas: int = 2
    bake_seconds: int = 20
    """`spec.serving.rollout.bakeSeconds`."""
    pause_seconds: float = 15.0
    """Between two measurements in the background."""
    export_seconds: float = 1.0
    """Between two files of labelled messages."""
    scrape_seconds: float = 2.0
    """Between two looks of Prometheus. What is over sooner can go unseen: a toy switches in less than a second."""


def vllm(model: Path) -> Cast:
    """The real one: stock vLLM on CPU, and LoZO as in the quickstart."""
    rank, subspaces = 2, 4
    server = [
        *("python", "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", BASE),
        *("--max-model-len=256", f"--kv-cache-memory-bytes={2**27}", "--max-num-batched-tokens=512"),
        *("--enable-lora", "--max-loras=2", f"--max-lora-rank={rank * subspaces}", "--disable-uvicorn-access-log"),
        *("--worker-extension-cls", "zo_runtime.vllm_ext.cpu_lora.RunwiseServing"),
    ]
    optimizer = {
        "steps": 400,
        "batchSize": 16,
        "learningRate": 1e-4,
        "clip": 10,
        "rank": rank,
        "subspaces": subspaces,
    }
    return Cast(str(model), server, optimizer, image_of_this_machine(Path(sys.executable).parent))
