"""`zo verify`, `zo replay`, `zo inspect` and `zo log` on real folders: output, JSON, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fixtures.logs import DATA, LEASE, METHOD, FakeProcess, Trainer, bank_digest, make_row, run_info
from fixtures.rounds import ACCEPTED, REJECTED, RoundTrainer, reference
from zo_runtime.adapter.export import read_adapter
from zo_runtime.cli import cli, log_commands
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import InvalidSpec, LogCorrupt, ZOError
from zo_runtime.storage.local import LocalStore

ZO = (sys.executable, "-c", "from zo_runtime.cli import main; main()")


def train(uri: Path, steps: int) -> None:
    who = FakeProcess(f"to-{steps}", lambda writer: False)
    with LogWriter.open(LocalStore(uri), run_info(), data_digest=DATA, who=who, lease_seconds=LEASE) as writer:
        Trainer(writer).train(steps)


@pytest.fixture
def uri(tmp_path: Path) -> Path:
    train(tmp_path / "log", 25)
    return tmp_path / "log"


def zo(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def zo_json(*arguments: object) -> Any:
    return json.loads(zo(*arguments, "--json").stdout)


def test_verify_of_a_sound_log(uri: Path) -> None:
    output = zo("verify", uri).stdout.splitlines()
    assert output[0].startswith("sound: 25 steps, 3 versions, 11 objects, ")
    assert output[1] == f"digest {bank_digest(25)}"
    report = zo_json("verify", uri, "--threads", 2)
    assert (report["ok"], report["steps"], report["problems"], report["digest"]) == (True, 25, [], bank_digest(25))


def test_verify_of_a_damaged_log_names_the_object(uri: Path) -> None:
    path = uri / "segments" / "000000011-000000020.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    (uri / "notes.txt").write_text("mine")
    runner = CliRunner().invoke(cli, ["verify", str(uri)], standalone_mode=False)
    assert isinstance(runner.exception, LogCorrupt)
    assert str(runner.exception).startswith(f"{uri}: 1 problems found; do not serve or continue this log")
    lines = runner.stdout.splitlines()
    assert lines[0].startswith("segments/000000011-000000020.parquet does not have the bytes that the log recorded")
    assert "note: notes.txt is not named by the log; a crash may have left it" in lines
    runner = CliRunner().invoke(cli, ["verify", str(uri), "--json"], standalone_mode=False)
    assert json.loads(runner.stdout)["ok"] is False


@pytest.mark.parametrize(("option", "step"), [((), 25), (("--step", "13"), 13), (("--version", "1"), 10)])
def test_replay_writes_the_adapter(uri: Path, tmp_path: Path, option: tuple[str, ...], step: int) -> None:
    out = tmp_path / "adapter"
    result = zo_json("replay", uri, "--out", out, "--snapshot", tmp_path / "snapshots", *option)
    assert result == {"out": str(out), "step": step, "rank": 4, "dtype": "float32", "digest": bank_digest(step)}
    assert (read_adapter(out).step, read_adapter(out).digest) == (step, bank_digest(step))
    assert len(list((tmp_path / "snapshots").iterdir())) == 1
    text = zo("replay", uri, "--out", out, "--dtype", "model", "--threads", 1, *option).stdout
    assert text == f"{out}: step {step}, rank 4, float32\ndigest {bank_digest(step)}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--step", "26"), "has no step 26; it has the steps 1 to 25"),
        (("--version", "9"), "has no version 9; it has the versions 1 to 3"),
        (("--version", "1", "--step", "2"), "--step and --version exclude each other"),
        (("--device", "gpu"), "--device gpu: no such kind of device; give cpu, cuda or cuda:1"),
    ],
)
def test_replay_names_what_is_wrong(uri: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InvalidSpec, match=sentence):
        zo("replay", uri, "--out", tmp_path / "adapter", *arguments)
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("command", ["verify", "inspect", "log", "replay"])
def test_no_log_is_one_sentence(tmp_path: Path, command: str) -> None:
    more = ["--out", tmp_path / "a"] if command == "replay" else []
    with pytest.raises(InvalidSpec, match=f"there is no delta log at {tmp_path}/no; check the URI"):
        zo(command, tmp_path / "no", *more)


def test_inspect_shows_what_matters(uri: Path) -> None:
    text = zo("inspect", uri).stdout
    for part in ("tiny (float32", "rank 4 = 2 subspaces of rank 2, 2 layers", "none (last: process 1 on h",
                 "75.0%", f"25, digest {bank_digest(25)[:12]}", "bytes a step"):  # fmt: skip
        assert part in text
    facts = zo_json("inspect", uri)
    size = sum(path.stat().st_size for path in uri.rglob("*") if path.suffix in (".json", ".parquet"))
    assert (facts["step"], facts["bytes"], facts["bytesPerStep"]) == (25, size, size / 25)
    assert [v["lastStep"] for v in facts["versions"]] == [10, 20, 25]
    assert facts["versions"][1]["evaluation"] == {"loss": 0.5, "accuracy": 0.75, "examples": 200}
    assert sum(v["bytes"] for v in facts["versions"]) == size - sum(
        (uri / name).stat().st_size for name in ("run.json", "LATEST.json")
    )
    assert facts["writer"]["released"] is True
    assert facts["run"]["adaptedLayers"] == 2


def test_inspect_of_a_log_without_steps(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("a"), lease_seconds=LEASE):
        assert "  process 1 on h, writer 1 of the run" in zo("inspect", tmp_path).stdout
        assert zo_json("inspect", tmp_path)["bytesPerStep"] is None


def test_log_prints_steps(uri: Path) -> None:
    lines = zo("log", uri).stdout.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(1, 26))
    row = make_row(7)
    (line,) = zo("log", uri, "--first", 7, "--last", 7).stdout.splitlines()
    assert f"loss {row.loss():.4f}" in line
    assert f"{row.tokens} tokens" in line
    (entry,) = [json.loads(x) for x in zo("log", uri, "--first", 7, "--last", 7, "--json").stdout.splitlines()]
    assert (entry["step"], entry["coefficients"]) == (7, list(row.coefficients))
    assert entry["gradients"] == list(row.gradients(2.0**-10))
    with pytest.raises(InvalidSpec, match="no step 26"):
        zo("log", uri, "--last", 26)


def test_log_follows_until_the_last_step(uri: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        train(uri, 25 + 4 * len(waits))

    monkeypatch.setattr(log_commands.time, "sleep", sleep)
    lines = zo("log", uri, "-f", "--last", 31).stdout.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(16, 32)), "ten old ones, then what comes"
    assert len(waits) == 2
    assert zo("log", uri, "-f", "--first", 30, "--last", 30).stdout.count("\n") == 1


def test_ctrl_c_ends_following_cleanly(uri: Path) -> None:
    arguments = [*ZO, "log", str(uri), "-f"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(10):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "", "")


@pytest.mark.parametrize(("damage", "code"), [(False, 0), (True, 7)])
def test_exit_codes_and_one_line_on_stderr(uri: Path, damage: bool, code: int) -> None:
    if damage:
        (uri / "run.json").write_text("{}")
    arguments = [*ZO, "inspect", str(uri), "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ))
    assert done.returncode == code
    assert done.stderr == ("zo: run.json lacks its checksum; restore the object from a copy\n" if damage else "")


def test_s3_options_reach_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def open_store(uri: str, s3: object) -> None:
        seen.append((uri, s3.endpoint, s3.region, s3.path_style, s3.ca_file))  # type: ignore[attr-defined]
        raise InvalidSpec("enough")

    monkeypatch.setattr(log_commands, "open_store", open_store)
    monkeypatch.setenv("ZO_S3_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("ZO_S3_PATH_STYLE", "true")
    for command in ("verify", "inspect", "log"):
        with pytest.raises(ZOError):
            zo(command, "s3://b/p", "--s3-region", "here", "--s3-ca-file", "ca.pem")
    assert seen == [("s3://b/p", "http://127.0.0.1:1", "here", True, "ca.pem")] * 3


def test_inspect_shows_rounds(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "log")
    for number, base, verdict in ((1, None, ACCEPTED), (2, 3, REJECTED), (3, 3, None)):
        RoundTrainer(store, METHOD, number, reference(store, base)).run(4, 3, 2, verdict)
    text = zo("inspect", tmp_path / "log").stdout
    lines = [line.split() for line in text.splitlines()[-3:]]
    assert lines == [
        ["1", "base", "4", "3", "5", "75.0%", "75.0%", "Ungated"],
        ["2", "3", "4", "6", "5", "75.0%", "75.0%", "rejected:", "NoImprovement"],
        ["3", "3", "3", "8", "5", "75.0%", "75.0%", "none"],
    ]
    facts = zo_json("inspect", tmp_path / "log")
    assert [(r["round"], r["firstStep"], r["lastStep"], r["versions"]) for r in facts["rounds"]] == [
        (1, 1, 4, [1, 2, 3]),
        (2, 5, 8, [4, 5, 6]),
        (3, 9, 11, [7, 8]),
    ]
    assert facts["rounds"][1]["base"]["version"] == 3
    assert facts["rounds"][1]["verdict"]["accepted"] is False
    assert [(v["number"], v.get("base"), v["round"]) for v in facts["versions"]][6] == (7, 4, 3)
    assert facts["rounds"][0]["dataList"] == "data/1.json"


def test_replay_follows_the_path_of_a_version(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "log")
    for number, base in ((1, None), (2, None), (3, 3)):
        RoundTrainer(store, METHOD, number, reference(store, base)).run(4, 3, 2, ACCEPTED)
    recorded = LogReader(store).versions()
    for number, step in ((3, 4), (6, 8), (7, 4), (9, 12)):
        said = zo_json(
            "replay", tmp_path / "log", "--version", number, "--out", tmp_path / "a", "--snapshot", tmp_path
        )
        assert (said["step"], said["digest"]) == (step, recorded[number - 1].digest)


def test_an_old_log_says_nothing_of_rounds(uri: Path) -> None:
    facts = zo_json("inspect", uri)
    assert "rounds" not in facts
    assert not {"base", "round", "dataList", "verdict", "cost"} & facts["versions"][0].keys()
