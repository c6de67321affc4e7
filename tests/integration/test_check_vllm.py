"""`zo check` against stock vLLM with the plugin: a replica has the log's numbers, another version is found out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.replica import Replica
from bench.switch import NAME, wish
from zo_runtime.deltalog.chain import load_link
from zo_runtime.rounds.check_result import API_KEY
from zo_runtime.serving.contract import Target
from zo_runtime.storage.local import LocalStore

ZO = Path(sys.executable).with_name("zo")
KEY = "a-key-for-the-test"


def manifest(folder: Path, model: Path) -> Path:
    data = folder / "messages.jsonl"
    words = [("lovely", "good"), ("awful", "bad"), ("great fun", "good"), ("dull", "bad")]
    lines = [{"text": f"message {n}: {words[n % 4][0]}", "label": words[n % 4][1]} for n in range(60)]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    labels = {"good": " really rather splendid", "bad": " bad"}
    document = {
        "apiVersion": "zofinetune.io/v1alpha1",
        "kind": "ZOFineTune",
        "metadata": {"name": "checked"},
        "spec": {
            "model": {"name": str(model), "maxLength": 64, "dtype": "float32"},
            "data": {"train": {"uri": str(data)}, "heldOut": {"examples": 20}},
            "objective": {"classification": {"prompt": "{text} It was", "labels": labels}},
            "optimizer": {"steps": 6, "batchSize": 4, "learningRate": 0.03, "epsilon": 0.01, "interval": 2},
            "evaluation": {"every": 6, "maxLossIncrease": 1000},
            "storage": {"uri": str(folder / "log")},
            "metrics": {"port": 0},
        },
    }
    path = folder / "manifest.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def check(path: Path, replica: Replica, target: Target, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and termination message."""
    said = path.parent / "termination"
    command = [ZO, "check", path, "--replica", replica.url, "--model", NAME, "--version", str(target.version)]
    command += ["--sha256", target.sha256, "--max-loss-increase", "0.001", "--max-accuracy-drop", "0", *options]
    environment = os.environ | {API_KEY: KEY, "ZO_TERMINATION_LOG": str(said)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    return done.returncode, json.loads(said.read_text())


@pytest.mark.vllm
def test_a_replica_has_the_logs_numbers(tiny_model: Path, tmp_path: Path) -> None:
    path = manifest(tmp_path, tiny_model)
    subprocess.run([ZO, "run", path], check=True, capture_output=True, timeout=300)
    links = [load_link(LocalStore(tmp_path / "log"), number) for number in (1, 2)]
    base, learned = (Target(version=link.version.number, sha256=link.sha256) for link in links)
    before, after = (link.version.evaluation for link in links)
    assert before is not None and after is not None
    assert abs(after.loss - before.loss) > 0.01, "the versions differ"
    replica = Replica(tiny_model, tmp_path, key=KEY, options=["--dtype", "float32", "--block-size", "32"])
    wish(replica.desired, str(tmp_path / "log"), learned)
    with replica:
        code, found = check(path, replica, learned)
        assert (code, found["passed"], found["reason"]) == (0, True, "Passed")
        assert (found["examples"], found["accuracy"]) == (after.examples, after.accuracy)
        assert found["loss"] == pytest.approx(after.loss, abs=1e-4)
        assert check(path, replica, learned, "--examples", "5")[1]["examples"] == 5
        code, found = check(path, replica, base)
        assert (code, found["reason"]) == (10, "EngineFailed")
        assert "has switched meanwhile" in found["message"]
        code, found = check(path, replica, learned, "--api-key", "wrong")
        assert (code, found["reason"]) == (2, "InvalidSpec")
        assert "ZO_REPLICA_API_KEY" in found["message"]
