"""`zo serve-state`: targets come from a verified log, files change in one step, mistakes are one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fixtures.logs import METHOD
from fixtures.rounds import ACCEPTED, REJECTED, RoundTrainer, reference
from fixtures.serving import local_log, make_base, target
from zo_runtime.cli import cli
from zo_runtime.deltalog.reader import LogReader
from zo_runtime.errors import InvalidSpec, LogCorrupt, ZOError
from zo_runtime.serving.desired import read_desired
from zo_runtime.storage.local import LocalStore


class Shell:
    """Runs `zo serve-state` on a folder with a log of three versions."""

    def __init__(self, folder: Path):
        self.log: LocalStore = local_log(folder / "log", make_base(folder / "base"))
        self.folder = folder / "desired"

    def __call__(self, command: str, *arguments: str) -> Result:
        result = CliRunner().invoke(cli, ["serve-state", command, *arguments, "--dir", str(self.folder)])
        if isinstance(result.exception, ZOError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    def state(self, name: str = "clinic") -> Any:
        reading = read_desired(self.folder)
        assert reading.problems == {}
        return reading.states[name]


@pytest.fixture
def zo(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_set_resolves_what_is_asked_for(zo: Shell) -> None:
    zo("set", "clinic", zo.log.uri)
    assert zo.state().target == target(zo.log, 3)
    zo("set", "clinic", zo.log.uri, "--version", "2")
    assert zo.state().target == target(zo.log, 2)
    zo("set", "clinic", zo.log.uri, "--step", "11")
    assert zo.state().target == target(zo.log, 2, 11)
    zo("set", "clinic", zo.log.uri, "--canary-version", "3", "--canary-member", "a", "--canary-member", "b")
    assert (zo.state().canary.target, zo.state().canary.members) == (target(zo.log, 3), ("a", "b"))
    assert [path.name for path in zo.folder.iterdir()] == ["clinic.json"]


def test_what_was_not_accepted_is_served_only_by_its_number(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "rounds")
    zo = Shell(tmp_path)
    RoundTrainer(store, METHOD, 1, None).run(4, 9, 2, None)
    with pytest.raises(InvalidSpec, match=r"no version of the log at .* was accepted yet; give --version"):
        zo("set", "clinic", store.uri)
    for number, base, verdict in ((2, None, ACCEPTED), (3, 4, ACCEPTED), (4, 4, REJECTED)):
        RoundTrainer(store, METHOD, number, reference(store, base)).run(4, 9, 2, verdict)
    last = [v.number for v in LogReader(store).versions() if v.verdict]
    zo("set", "clinic", store.uri)
    assert zo.state().target.version == last[1]
    zo("rollback", "clinic")
    assert zo.state().target.version == last[0]
    with pytest.raises(InvalidSpec, match=f"no version before {last[0]} was accepted; give --step 0"):
        zo("rollback", "clinic")
    zo("set", "clinic", store.uri, "--version", str(last[2]))
    assert zo.state().target.version == last[2]


def test_the_way_to_s3_is_kept(zo: Shell) -> None:
    zo("set", "clinic", zo.log.uri, "--s3-endpoint", "http://s3", "--s3-path-style")
    assert (zo.state().s3.endpoint, zo.state().s3.path_style) == ("http://s3", True)
    zo("rollback", "clinic")
    assert zo.state().s3.endpoint == "http://s3"


def test_rollback_goes_one_version_back_or_where_it_is_told(zo: Shell) -> None:
    zo("set", "clinic", zo.log.uri, "--canary-version", "2", "--canary-member", "a")
    zo("rollback", "clinic")
    assert (zo.state().target, zo.state().canary) == (target(zo.log, 2), None)
    zo("rollback", "clinic", "--step", "4")
    assert zo.state().target == target(zo.log, 1, 4)
    zo("rollback", "clinic", "--version", "3", "--step", "0")
    assert zo.state().target == target(zo.log, 3, 0)
    zo("set", "clinic", zo.log.uri, "--version", "1")
    with pytest.raises(InvalidSpec, match="clinic is at the first version; give --step"):
        zo("rollback", "clinic")


def test_show(zo: Shell) -> None:
    zo("set", "clinic", zo.log.uri, "--version", "2", "--canary-version", "3", "--canary-member", "pod-1")
    zo("set", "other", zo.log.uri, "--step", "5")
    text = zo("show").output
    assert [line.split()[:3] for line in text.splitlines()[1:]] == [["clinic", "2", "last"], ["other", "1", "5"]]
    assert "version 3 on pod-1" in text
    assert json.loads(zo("show", "clinic", "--json").output)["target"]["version"] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("set", "clinic", "LOG", "--version", "9"), "has no version 9; it has the versions 1 to 3"),
        (
            ("set", "clinic", "LOG", "--version", "1", "--step", "11"),
            "version 1 of .* has no step 11; it has the steps",
        ),
        (("set", "clinic", "LOG", "--step", "31"), "has no step 31"),
        (("set", "a/b", "LOG"), 'name: "a/b" is not allowed'),
        (("set", "clinic", "LOG/nowhere"), "there is no delta log at"),
        (("set", "clinic", "LOG", "--canary-version", "1"), "--canary-version and --canary-member go together"),
        (("rollback", "nobody"), "has no state for nobody; begin with: zo serve-state set nobody URI"),
        (("show", "nobody"), "has no state for nobody"),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(zo: Shell, arguments: tuple[str, ...], sentence: str) -> None:
    zo("set", "clinic", zo.log.uri, "--version", "2")
    before = zo.state()
    with pytest.raises(InvalidSpec, match=sentence):
        zo(*(argument.replace("LOG", zo.log.uri) for argument in arguments))
    assert zo.state() == before


def test_a_log_that_does_not_verify_is_no_target(zo: Shell) -> None:
    zo.log.put("segments/000000011-000000020.parquet", b"x")
    zo("set", "clinic", zo.log.uri, "--version", "1")
    with pytest.raises(LogCorrupt, match="does not have the bytes"):
        zo("set", "clinic", zo.log.uri, "--version", "2")
    assert zo.state().target == target(zo.log, 1)
