"""The main job on the real engine: a run that is killed and resumed, its log verified and replayed, and the
adapter served by stock vLLM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.seaweed import free_ports

ZO = Path(sys.executable).with_name("zo")
STEPS = 6


def manifest(folder: Path, model: Path, name: str) -> Path:
    data = folder / "messages.jsonl"
    words = [("lovely", "good"), ("awful", "bad"), ("great fun", "good"), ("dull", "bad")]
    with data.open("w") as out:
        for i in range(60):
            text, label = words[i % 4]
            out.write(json.dumps({"text": f"message {i}: {text}", "label": label}) + "\n")
    document = {
        "apiVersion": "zofinetune.io/v1alpha1",
        "kind": "ZOFineTune",
        "metadata": {"name": name},
        "spec": {
            "model": {"name": str(model), "maxLength": 64},
            "data": {"train": {"uri": str(data)}, "heldOut": {"examples": 12}},
            "objective": {"classification": {"prompt": "{text} It was", "labels": {"good": " great", "bad": " bad"}}},
            "optimizer": {"steps": STEPS, "batchSize": 4, "learningRate": 1e-4, "interval": 2, "subspaces": 2},
            "evaluation": {"every": 3},
            "storage": {"uri": str(folder / name), "flush": {"everySteps": 1}},
            "metrics": {"port": 0},
        },
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def zo(*arguments: str) -> dict[str, Any]:
    result = subprocess.run([ZO, *arguments], check=False, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def kill_after_step(path: Path, step: int) -> None:
    """Start a run and end it with SIGKILL once its log has the step."""
    log = Path(yaml.safe_load(path.read_text())["spec"]["storage"]["uri"]) / "LATEST.json"
    process = subprocess.Popen([ZO, "run", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if log.exists() and json.loads(log.read_text())["head"]["step"] >= step:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.02)
    assert process.wait() == -signal.SIGKILL


def share_among_two(path: Path) -> dict[str, Any]:
    """Run a manifest as two workers on this machine; the leader's result."""
    place = {"ZO_WORKERS": "2", "ZO_RENDEZVOUS": f"127.0.0.1:{free_ports(1)[0]}"}
    environments = [os.environ | place | {"JOB_COMPLETION_INDEX": str(rank)} for rank in (0, 1)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([ZO, "run", str(path)], env=e, **pipes) for e in environments]
    (result, error), (_, other_error) = (worker.communicate(timeout=400) for worker in workers)
    assert [worker.returncode for worker in workers] == [0, 0], error[-2000:] + other_error[-2000:]
    return json.loads(result.splitlines()[-1])  # type: ignore[no-any-return]


@pytest.mark.vllm
def test_share_kill_resume_verify_replay_and_serve(tmp_path: Path, smollm2: Path) -> None:
    whole = zo("run", str(manifest(tmp_path, smollm2, "whole")))
    assert share_among_two(manifest(tmp_path, smollm2, "shared"))["digest"] == whole["digest"]
    killed = manifest(tmp_path, smollm2, "killed")
    kill_after_step(killed, 2)
    resumed = zo("run", str(killed))
    assert resumed["digest"] == whole["digest"]
    assert resumed["steps"] == STEPS
    uri = str(tmp_path / "killed")
    assert zo("verify", uri, "--json")["ok"]
    replayed = zo("replay", uri, "--out", str(tmp_path / "adapter"), "--threads", "1", "--json")
    assert replayed["digest"] == whole["digest"]
    assert len(served_completions(smollm2, tmp_path / "adapter")) == 2


def served_completions(model: Path, adapter: Path) -> list[str]:
    """Ask stock vLLM for a completion by the base model and by the adapter."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--served-model-name", "base", "--max-model-len", "64", "--enable-lora"]
    command += [
        "--lora-modules",
        f"adapted={adapter}",
        "--kv-cache-memory-bytes",
        "268435456",
        "--max-lora-rank",
        "16",
    ]
    log = adapter.parent / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"VLLM_NO_USAGE_STATS": "1"})
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            assert server.poll() is None, log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except OSError:
                time.sleep(0.5)
        return [complete(port, name) for name in ("base", "adapted")]
    finally:
        server.terminate()
        server.wait(30)


def complete(port: int, model: str) -> str:
    body = json.dumps({"model": model, "prompt": "message 1: awful It was", "max_tokens": 3, "temperature": 0})
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", body.encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["choices"][0]["text"])
