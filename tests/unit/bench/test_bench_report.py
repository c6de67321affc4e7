"""Summaries, ratios, turns, the picture, and the benchmark's prompts."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import data
from bench.report import Summary, bar_chart, pairwise_ratios, run_rounds, summarize
from bench.step import ratios

seconds = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20)


@given(seconds)
def test_a_summary_is_ordered_and_among_the_figures(values: list[float]) -> None:
    summary = summarize(values)
    assert min(values) == summary.least <= summary.median <= summary.greatest == max(values)


@given(seconds, st.floats(0.1, 10))
def test_a_common_drift_cancels_in_pairwise_ratios(values: list[float], factor: float) -> None:
    drifted = [factor * value for value in values]
    assert pairwise_ratios(drifted, values) == pytest.approx([factor] * len(values))


def test_ratios_need_equal_rounds() -> None:
    with pytest.raises(ValueError, match="shorter"):
        pairwise_ratios([1.0, 2.0], [1.0])


def test_rounds_take_turns_and_leave_out_the_warm_up() -> None:
    calls: list[str] = []

    def side(name: str, figure: float) -> float:
        calls.append(name)
        return figure + len(calls) / 1000

    got = run_rounds({"a": lambda: side("a", 1), "b": lambda: side("b", 2)}, rounds=2, warmup=1)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert got == {"a": [1.004, 1.005], "b": [2.003, 2.006]}


def test_the_headline_has_the_issue_s_keys() -> None:
    line = ratios({"lozo": [4.0, 8.0, 4.0], "ours": [1.0, 2.0, 1.0], "forward": [1.0, 1.0, 1.0]})
    assert line["lozo_over_ours"] == 4.0
    assert line["ours_over_forward"] == 1.0
    assert line["spread"]["ours_over_forward"] == [1.0, 2.0]
    assert (line["lozo_seconds"], line["ours_seconds"], line["forward_seconds"]) == (4.0, 1.0, 1.0)


def test_the_chart_is_xml_with_a_bar_per_side_to_scale() -> None:
    svg = bar_chart("a < b", "s", {"x & y": Summary(2.0, 1.0, 4.0), "z": Summary(1.0, 1.0, 1.0)})
    root = ET.fromstring(svg)
    bars = [e for e in root if e.tag.endswith("rect") and e.get("fill") == "#4c78a8"]
    widths = [float(bar.get("width", "0")) for bar in bars]
    assert widths == pytest.approx([215.0, 107.5])
    assert "x & y" in [e.text for e in root]


def test_sst2_is_read_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / "train.tsv"
    file.write_text("a fine film\t1\na dull film\t0\n", encoding="utf-8")
    assert data.load_records(2, file) == ([("a fine film", 1), ("a dull film", 0)], "SST-2 train")
    with pytest.raises(SystemExit, match="2 records, not 3"):
        data.load_records(3, file)


def test_the_demos_messages_serve_where_sst2_is_not(tmp_path: Path) -> None:
    messages = tmp_path / "messages.jsonl"
    messages.write_text('{"text": "bad", "sentiment": "negative"}\n{"text": "good", "sentiment": "positive"}\n')
    records, source = data.load_records(2, tmp_path / "none.tsv", messages)
    assert source == "messages"
    assert records == [("bad", 0), ("good", 1)]


def test_no_data_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run `make bench`"):
        data.load_records(1, tmp_path / "none.tsv", tmp_path / "none.jsonl")


class WordTokenizer:
    """One token a word; `split` words become two."""

    def __init__(self, split: str = "") -> None:
        self.split = split

    def __call__(self, text: str) -> dict[str, list[int]]:
        words = [w for word in text.split(" ") for w in ([word, "+"] if word == self.split else [word])]
        return {"input_ids": [sum(word.encode()) for word in words]}


def test_an_example_has_the_prompt_and_one_token_per_label_word() -> None:
    example = data.encode(WordTokenizer(), "nice", 1)
    assert example.prompt == tuple(sum(w) for w in (b"nice", b"It", b"was"))
    assert example.candidates == ((sum(b"terrible"),), (sum(b"great"),))
    assert example.target == 1


def test_a_split_label_word_is_refused() -> None:
    with pytest.raises(SystemExit, match="' great'"):
        data.encode(WordTokenizer(split="great"), "nice", 1)
