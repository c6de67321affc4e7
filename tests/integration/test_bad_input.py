"""Bad input, through the `zo` command itself: one clear sentence, the documented exit code, no traceback."""

from __future__ import annotations

import copy
import json
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.toy import ToyModel
from fakes.toy_manifest import manifest, write_manifest
from zo_runtime.cli import main
from zo_runtime.config.load import load_document
from zo_runtime.job import Job

Document = dict[str, Any]
Change = Callable[[Document, Path], None]


@pytest.fixture
def zo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command in this process; give its exit code and what it wrote to stderr."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["zo", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        return int(ending.value.code or 0), capsys.readouterr().err

    return run


@pytest.fixture
def document(tmp_path: Path, smollm2: Path) -> Document:
    """A good manifest for the real model."""
    found = manifest(tmp_path, steps=2)
    found["spec"]["model"]["name"] = str(smollm2)
    found["spec"]["objective"]["classification"]["labels"] = {"0": " bad", "1": " great"}
    return found


def put(path: str, value: Any) -> Change:
    """A change that sets one field of the document."""

    def change(document: Document, _folder: Path) -> None:
        *parents, leaf = path.split(".")
        for name in parents:
            document = document.setdefault(name, {})
        document[leaf] = value

    return change


def put_file(path: str, name: str, text: str) -> Change:
    """A change that points a field to a file with that text."""

    def change(document: Document, folder: Path) -> None:
        (folder / name).write_text(text)
        put(path, str(folder / name))(document, folder)

    return change


def without_weights(document: Document, folder: Path) -> None:
    shutil.copytree(
        document["spec"]["model"]["name"], folder / "model", ignore=shutil.ignore_patterns("*.safetensors")
    )
    document["spec"]["model"]["name"] = str(folder / "model")


def bad_records(document: Document, folder: Path) -> None:
    lines = [json.dumps({"text": "good film", "label": i % 5}) for i in range(50)]
    put_file("spec.data.train.uri", "bad.jsonl", "\n".join(lines))(document, folder)


LABELS = "spec.objective.classification"
CASES: dict[str, tuple[Change, int, str]] = {
    "unknown field": (put("spec.optimizer.lerningRate", 1), 2, "learningRate"),
    "value out of bounds": (put("spec.optimizer.rank", 0), 2, "spec.optimizer.rank"),
    "wrong kind": (put("kind", "FineTune"), 2, "ZOFineTune"),
    "no objective": (put("spec.objective", {}), 2, "spec.objective"),
    "missing data": (put("spec.data.train.uri", "/no/such/file.jsonl"), 3, "/no/such/file.jsonl"),
    "empty data": (put_file("spec.data.train.uri", "empty.jsonl", ""), 3, "empty.jsonl"),
    "unknown data format": (put_file("spec.data.train.uri", "data.xyz", "x"), 3, "spec.data.train.format"),
    "wrong column": (put(f"{LABELS}.labelField", "stars"), 3, "stars"),
    "unknown field in the template": (put(f"{LABELS}.prompt", "{review}"), 3, "review"),
    "too many bad records": (bad_records, 3, "spec.data.quarantine.maxFraction"),
    "nothing held out": (put("spec.data.heldOut", {"fraction": 0.0}), 3, "spec.data.heldOut"),
    "everything held out": (put("spec.data.heldOut", {"examples": 100000}), 3, "spec.data.heldOut"),
    "a label word that splits": (
        put(LABELS, {"prompt": "{text}", "labels": {"0": " unwatchable", "1": " great"}, "singleToken": True}),
        2,
        " unwatchable",
    ),
    "labels that are the same": (put(f"{LABELS}.labels", {"0": " good", "1": " good"}), 2, " good"),
    "a rank that vLLM lacks": (put("spec.optimizer.rank", 256), 2, "1280"),
    "no such model": (put("spec.model.name", "/no/such/model"), 4, "spec.model.name"),
    "a model without weights": (without_weights, 4, "safetensors"),
    "no such layers": (put("spec.optimizer.targetModules", ["attn_qkv"]), 4, "q_proj"),
    "a log path that is a file": (put_file("spec.storage.uri", "file", "x"), 11, "a file, not a folder"),
    "an unknown scheme": (put("spec.storage.uri", "gs://bucket/run"), 2, "gs://"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_manifest(name: str, document: Document, tmp_path: Path, zo: Callable[..., tuple[int, str]]) -> None:
    change, code, expected = CASES[name]
    broken = copy.deepcopy(document)
    change(broken, tmp_path)
    got, error = zo("run", str(write_manifest(tmp_path, broken)))
    last = error.strip().splitlines()[-1]
    assert got == code, error
    assert last.startswith("zo: ")
    assert expected in last
    assert "Traceback" not in error
    assert not (tmp_path / "log" / "LATEST.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["run", "missing.yaml"], 2, "missing.yaml"),
        (["verify", "no-log-here"], 2, "no-log-here"),
        (["explain", "spec.optimizer.rnk"], 2, "spec.optimizer.rank"),
        (["report", "no-log-here"], 2, "no-log-here"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_wrong_arguments(arguments: list[str], code: int, expected: str, zo: Callable[..., tuple[int, str]]) -> None:
    got, error = zo(*arguments)
    assert (got, expected in error, "Traceback" in error) == (code, True, False), error


def finished_log(folder: Path) -> Document:
    """A finished run of the toy model."""
    found = manifest(folder)
    parsed, _ = load_document(write_manifest(folder, found))
    Job(parsed, ToyModel(), lambda: False).run()
    return found


def test_the_wrong_model_for_a_log(tmp_path: Path, document: Document, zo: Callable[..., tuple[int, str]]) -> None:
    finished_log(tmp_path)
    code, error = zo("run", str(write_manifest(tmp_path, document)))
    assert code == 8
    assert "model.name is 'toy' there" in error


def test_a_step_that_the_log_does_not_have(tmp_path: Path, zo: Callable[..., tuple[int, str]]) -> None:
    uri = finished_log(tmp_path)["spec"]["storage"]["uri"]
    code, error = zo("replay", uri, "--step", "41", "--out", str(tmp_path / "out"))
    assert code == 2
    assert "no step 41; it has the steps 1 to 40" in error
    assert not (tmp_path / "out").exists()


def test_a_damaged_log(tmp_path: Path, zo: Callable[..., tuple[int, str]]) -> None:
    uri = finished_log(tmp_path)["spec"]["storage"]["uri"]
    segment = next(Path(uri).glob("segments/*"))
    segment.write_bytes(segment.read_bytes()[:-1])
    code, _ = zo("verify", uri)
    assert code == 7


def test_a_port_that_is_taken(tmp_path: Path, document: Document, zo: Callable[..., tuple[int, str]]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        document["spec"]["metrics"] = {"port": holder.getsockname()[1]}
        code, error = zo("run", str(write_manifest(tmp_path, document)))
    assert code == 2
    assert "spec.metrics.port" in error


@pytest.mark.s3
def test_no_bucket_no_credentials_no_server(
    tmp_path: Path, document: Document, seaweed: Any, monkeypatch: pytest.MonkeyPatch, zo: Callable[..., Any]
) -> None:
    s3 = seaweed.settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    document["spec"]["storage"] |= {"uri": "s3://no-such-bucket/run", "s3": s3}
    code, error = zo("run", str(write_manifest(tmp_path, document)))
    assert code == 11
    assert "no-such-bucket" in error
    document["spec"]["storage"]["s3"] = {**s3, "endpoint": "http://127.0.0.1:9"}
    code, error = zo("run", str(write_manifest(tmp_path, document)))
    assert code == 5
    assert "127.0.0.1:9" in error
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    document["spec"]["storage"] |= {"uri": f"{seaweed.uri}/run", "s3": s3}
    code, error = zo("run", str(write_manifest(tmp_path, document)))
    assert code == 11
    assert "credentials" in error


@pytest.mark.vllm
def test_a_model_without_lora_support(tmp_path: Path, smollm2: Path, document: Document) -> None:
    """vLLM itself refuses it, in a process of its own."""
    import subprocess

    import transformers

    config = transformers.GPT2Config(n_embd=64, n_layer=1, n_head=2, vocab_size=49152, n_positions=128)
    model = transformers.GPT2LMHeadModel(config)
    model.save_pretrained(tmp_path / "gpt2")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(smollm2 / name, tmp_path / "gpt2" / name)
    document["spec"]["model"] |= {"name": str(tmp_path / "gpt2"), "maxLength": 64}
    document["spec"]["optimizer"]["targetModules"] = ["lm_head"]
    path = tmp_path / "gpt2.yaml"
    path.write_text(yaml.safe_dump(document))
    command = [Path(sys.executable).with_name("zo"), "run", str(path)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200)
    assert result.returncode == 4, result.stderr[-2000:]
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("zo: spec.model.name")
    assert "LoRA" in last
