"""The whole way from files to examples, and every way in which it can be wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.words import CountingTokenizer, WordTokenizer
from zo_runtime.config.data import Data, Source
from zo_runtime.config.objective import Objective
from zo_runtime.config.storage import S3
from zo_runtime.data.dataset import Dataset, load_dataset
from zo_runtime.errors import InvalidData

OBJECTIVE = {"classification": {"prompt": "{text} It was", "labels": {"0": " bad", "1": " good"}}}
TOKENIZER = WordTokenizer([" It", " was", " bad", " good"])


def load(objective: dict[str, object] | None = None, max_length: int = 64, **data: object) -> Dataset:
    return load_dataset(
        Data.model_validate(data), Objective.model_validate(objective or OBJECTIVE), TOKENIZER, max_length, S3()
    )


def write(path: Path, count: int, start: int = 0) -> str:
    path.write_text("".join(f"text {number}\t{number % 2}\n" for number in range(start, start + count)))
    return str(path)


@pytest.fixture
def source(tmp_path: Path) -> dict[str, object]:
    return {"uri": write(tmp_path / "train.tsv", 300), "columns": ["text", "label"]}


def test_splits_and_counts(source: dict[str, object]) -> None:
    dataset = load(train=source)
    assert len(dataset.train) + len(dataset.held_out) == 300
    assert 10 < len(dataset.held_out) < 60
    assert dataset.columns == ["text", "label"]
    assert dataset.quarantine.counts == {}
    assert dataset.digest == load(train=source).digest


def test_a_fixed_number_is_held_out(source: dict[str, object]) -> None:
    assert len(load(train=source, held_out={"examples": 40}).held_out) == 40


def test_the_seed_chooses_the_split(source: dict[str, object]) -> None:
    one, other = load(train=source, seed=1), load(train=source, seed=2)
    assert one.held_out != other.held_out
    assert one.digest != other.digest


def test_a_regression_set_is_read_as_it_is_and_changes_no_digest(source: dict[str, object], tmp_path: Path) -> None:
    data = Data.model_validate({"train": source, "maxExamples": 10})
    fixed = Source(uri=write(tmp_path / "golden.tsv", 30), columns=["text", "label"])
    objective = Objective.model_validate(OBJECTIVE)
    found = load_dataset(data, objective, TOKENIZER, 64, S3(), regression=fixed)
    assert len(found.regression) == 30
    assert found.digest == load_dataset(data, objective, TOKENIZER, 64, S3()).digest
    with (tmp_path / "golden.tsv").open("a") as file:
        file.write("more\t7\n")
    found = load_dataset(data, objective, TOKENIZER, 64, S3(), regression=fixed)
    assert len(found.regression) == 30
    assert sum(found.quarantine.counts.values()) == 1
    with pytest.raises(InvalidData, match=r"spec\.gate\.regression\.source\.uri: "):
        load_dataset(data, objective, TOKENIZER, 64, S3(), regression=Source(uri=str(tmp_path / "none.tsv")))


def test_an_evaluation_source_replaces_the_split(source: dict[str, object], tmp_path: Path) -> None:
    evaluation = {"uri": write(tmp_path / "dev.tsv", 30, start=1000), "columns": ["text", "label"]}
    dataset = load(train=source, evaluation=evaluation)
    assert (len(dataset.train), len(dataset.held_out)) == (300, 30)


def test_at_most_so_many_are_learned_from(source: dict[str, object]) -> None:
    whole, cut = load(train=source), load(train=source, max_examples=100)
    assert cut.train == whole.train[:100]
    assert cut.held_out == whole.held_out


def test_all_formats_say_the_same(tmp_path: Path, source: dict[str, object]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"text": f"text {number}", "label": number % 2} for number in range(300)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(f'"{row["text"]}",{row["label"]}\n' for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    digests = {load(train={"uri": str(tmp_path / f"train.{kind}")}).digest for kind in ("jsonl", "csv", "parquet")}
    assert digests == {load(train=source).digest}


def test_unusable_records_are_kept_aside_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    write(path, 100)
    path.write_text(path.read_text() + "text\t7\n" + "long " * 100 + "\t1\nthree\tcells\there\n")
    dataset = load(train={"uri": str(path), "columns": ["text", "label"]})
    assert [(entry.origin, entry.reason.value) for entry in dataset.quarantine.entries] == [
        (f"{path}:101", "unknown label"),
        (f"{path}:102", "too long"),
        (f"{path}:103", "bad row"),
    ]
    assert len(dataset.train) + len(dataset.held_out) == 100


def test_reports_progress_and_tokenizes_in_batches(tmp_path: Path) -> None:
    uri = write(tmp_path / "train.tsv", 2500)
    data = Data.model_validate({"train": {"uri": uri, "columns": ["text", "label"]}})
    told: list[int] = []
    tokenizer = CountingTokenizer([" It"])
    load_dataset(data, Objective.model_validate(OBJECTIVE), tokenizer, 64, S3(), told.append)
    assert told == [1024, 2048, 2500]
    assert tokenizer.batches == [2, 1024, 1024, 452]


# --- what is wrong, and what is said -----------------------------------------------------------------------------


def test_a_field_that_no_record_has(source: dict[str, object]) -> None:
    objective = {"classification": {**OBJECTIVE["classification"], "prompt": "{sentence}"}}
    with pytest.raises(InvalidData) as caught:
        load(objective, train=source)
    assert str(caught.value).startswith(
        "spec.objective.classification.prompt: no record of spec.data.train has the field 'sentence'; the fields are "
        "text, label; correct the name"
    )
    objective = {"classification": {**OBJECTIVE["classification"], "label_field": "y"}}
    with pytest.raises(InvalidData, match=r"classification\.labelField: .* 'y'"):
        load(objective, train=source)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.jsonl", None, r"^spec\.data\.train\.uri: .* is no file"),
        ("empty.jsonl", "", r"^spec\.data\.train: .*empty\.jsonl holds no records"),
        ("header.csv", "text,label\n", "holds no records"),
        ("not.jsonl", "PK\x03\x04\nrubbish\n", "2 of 2 records cannot be used .*most often bad JSON"),
        ("broken.parquet", "PAR1", "not a readable Parquet file"),
        ("labels.csv", "text,label\na,x\nb,y\n", "label 'x' is none of '0', '1'; correct"),
        ("one.csv", "text,label\na,1\n", "spec.data.heldOut: none of 1 examples falls into the held-out share 0.1"),
    ],
)
def test_data_that_cannot_be_learned_from(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InvalidData, match=said):
        load(train={"uri": str(tmp_path / name)})


def test_nothing_left_to_train_on(source: dict[str, object]) -> None:
    for held_out in ({"examples": 300}, {"fraction": 1.0}):
        with pytest.raises(InvalidData, match="all 300 examples are held out"):
            load(train=source, held_out=held_out)


def test_no_held_out_part_on_request(source: dict[str, object]) -> None:
    assert load(train=source, held_out={"fraction": 0.0}).held_out == []


def test_tolerating_everything_still_needs_a_record(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,x\n")
    with pytest.raises(InvalidData, match=r"no record of .* can be used"):
        load(train={"uri": str(tmp_path / "a.csv")}, quarantine={"max_fraction": 1.0})


def test_a_bad_evaluation_source_is_not_hidden_by_good_data(source: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text("text,label\na,x\n")
    with pytest.raises(InvalidData, match=r"^spec\.data\.evaluation: 1 of 1 records"):
        load(train=source, evaluation={"uri": str(tmp_path / "dev.csv")})


# --- the same everywhere -----------------------------------------------------------------------------------------

SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from fixtures.words import WordTokenizer
from zo_runtime.config.data import Data
from zo_runtime.config.objective import Objective
from zo_runtime.config.storage import S3
from zo_runtime.data.batches import BatchOrder
from zo_runtime.data.dataset import load_dataset
data = Data.model_validate({{"train": {{"uri": sys.argv[1], "columns": ["text", "label"]}}}})
dataset = load_dataset(data, Objective.model_validate({objective!r}), WordTokenizer([" It", " was"]), 64, S3())
order = BatchOrder(data.seed, len(dataset.train), 16)
print(dataset.digest, [order.indices(step) for step in range(1, 40)])
"""


def test_digest_and_order_depend_on_the_data_alone(tmp_path: Path) -> None:
    """Other locale, time zone, hash seed and order of creation; the same digest and order."""
    outputs = set()
    script = SCRIPT.format(path=sys.path, objective=OBJECTIVE)
    for number, names in enumerate([("a", "b", "é", "Z"), ("Z", "é", "b", "a")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in names:
            write(folder / f"{name}.tsv", 50, start=100 * ord(name))
        environment = {
            **os.environ,
            "LC_ALL": ("C", "C.UTF-8")[number],
            "PYTHONUTF8": "1",
            "PYTHONHASHSEED": str(number),
            "TZ": ("UTC", "Asia/Tokyo")[number],
        }
        command = [sys.executable, "-c", script, str(folder)]
        outputs.add(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    assert len(outputs) == 1
