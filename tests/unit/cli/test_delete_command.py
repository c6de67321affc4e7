"""`zo delete` on real folders: by URI and by manifest, asked and not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from fixtures.logs import DATA, LEASE, FakeProcess, Trainer, run_info
from zo_runtime.cli import cli
from zo_runtime.deltalog.writer import LogWriter
from zo_runtime.errors import InvalidSpec
from zo_runtime.storage.local import LocalStore


@pytest.fixture
def uri(tmp_path: Path) -> Path:
    store = LocalStore(tmp_path / "log")
    with LogWriter.open(store, run_info(), data_digest=DATA, who=FakeProcess("a"), lease_seconds=LEASE) as writer:
        Trainer(writer).train(12)
    return tmp_path / "log"


def zo(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def objects(uri: Path) -> set[str]:
    return {info.key for info in LocalStore(uri).list()}


def test_a_log_goes_and_what_is_not_of_it_stays(uri: Path) -> None:
    count = len(objects(uri))
    (uri / "notes.txt").write_text("mine")
    lines = zo("delete", uri, "--yes").stdout.splitlines()
    assert lines[0].startswith(f"deleted {count} objects, ") and lines[0].endswith(f", of {uri}")
    assert lines[1] == "note: 1 objects below it are not of the log, and stay"
    assert objects(uri) == {"notes.txt"}
    assert zo("delete", uri, "--yes").stdout == f"{uri}: there is no log\n"


def test_a_manifest_names_its_log(uri: Path, tmp_path: Path) -> None:
    spec = {
        "model": {"name": "m"},
        "data": {"train": {"uri": "train.jsonl"}},
        "objective": {"classification": {"prompt": "{text}", "labels": {"0": " no", "1": " yes"}}},
        "optimizer": {"steps": 20},
        "storage": {"uri": str(uri)},
    }
    head = {"apiVersion": "zofinetune.io/v1alpha1", "kind": "ZOFineTune", "metadata": {"name": "n"}}
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump(head | {"spec": spec}))
    assert zo("delete", path, "--yes").stdout.startswith("deleted ")
    assert objects(uri) == set()
    with pytest.raises(InvalidSpec, match="there is no such file"):
        zo("delete", tmp_path / "missing.yaml", "--yes")


def test_nothing_is_deleted_unasked(uri: Path) -> None:
    before = objects(uri)
    with pytest.raises(InvalidSpec, match="give --yes"):
        zo("delete", uri)
    assert objects(uri) == before
