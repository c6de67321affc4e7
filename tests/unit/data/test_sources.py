"""What a local URI stands for, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from zo_runtime.config.data import Source
from zo_runtime.config.storage import S3
from zo_runtime.data.records import read_records
from zo_runtime.data.sources import open_files
from zo_runtime.errors import InvalidData, InvalidSpec


def names(uri: Path | str, root: Path) -> list[str]:
    return [
        Path(name).relative_to(root).as_posix() for name, file in open_files(str(uri), S3(), "here") if file.read()
    ]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Made in an order that is not the one of the names."""
    for name in ("b.jsonl", "a/2.jsonl", "Z.jsonl", "a/10.jsonl", "a.jsonl", ".hidden", "_SUCCESS", "a/_tmp/x.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    return tmp_path


def test_a_folder_is_read_by_name(tree: Path) -> None:
    assert names(tree, tree) == ["Z.jsonl", "a.jsonl", "a/10.jsonl", "a/2.jsonl", "b.jsonl"]


def test_a_pattern_is_read_by_name(tree: Path) -> None:
    assert names(tree / "*.jsonl", tree) == ["Z.jsonl", "a.jsonl", "b.jsonl"]
    assert names(tree / "**/[12]*.jsonl", tree) == ["a/10.jsonl", "a/2.jsonl"]


def test_a_file_is_itself_also_where_it_looks_like_a_pattern(tree: Path) -> None:
    (tree / "data[1].jsonl").write_text("{}\n")
    assert names(tree / "data[1].jsonl", tree) == ["data[1].jsonl"]
    assert names(tree / ".hidden", tree) == [".hidden"]


@pytest.mark.parametrize("uri", ["missing.jsonl", "nothing*", "empty"])
def test_nothing_to_read_is_one_sentence(tree: Path, uri: str) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(InvalidData, match=r"^here: .* is no file, no folder with files and no pattern of any"):
        names(tree / uri, tree)


def records(**source: object) -> list[object]:
    return list(read_records(Source.model_validate(source), S3(), "spec.data.train"))


def test_other_schemes_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="https:// is no storage"):
        records(uri="https://host/file.jsonl")


def test_an_ending_that_tells_no_format(tree: Path) -> None:
    (tree / "data.txt").write_text('{"a": 1}\n')
    with pytest.raises(InvalidData, match=r"data\.txt does not tell its format; set spec\.data\.train\.format"):
        records(uri=str(tree / "data.txt"))
    assert len(records(uri=str(tree / "data.txt"), format="jsonl")) == 1


def test_columns_are_for_files_without_names(tree: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.data\.train\.columns: .* names its own fields; remove"):
        records(uri=str(tree / "a.jsonl"), columns=["a"])
    with pytest.raises(InvalidSpec, match="names a column twice"):
        records(uri=str(tree / "a.csv"), columns=["a", "a"])


def test_a_file_that_may_not_be_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InvalidData, match="cannot be read: Permission denied; correct the path or its rights"):
        names(tree, tree)
