"""The story's pure parts: messages and policies, the timeline's lines, the picture."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET

import pytest
from tools.story.clients import Question, accuracy
from tools.story.messages import AFTER, BEFORE, STEADY, TOPICS, draw, inverted, to_lines
from tools.story.picture import Stretch, stretches
from tools.story.picture import draw as picture
from tools.story.timeline import Entry, Sample, Timeline, line

SVG = "{http://www.w3.org/2000/svg}"


def test_the_policies_differ_in_half_of_the_topics_and_each_has_as_many_of_both_labels():
    assert [topic for topic in TOPICS if BEFORE[topic] != AFTER[topic]] == ["refund", "question"]
    assert STEADY == ("delivery", "praise")
    for policy in (BEFORE, AFTER):
        assert sorted(policy.values()) == ["high", "high", "low", "low"]


def test_messages_have_nothing_left_to_fill_in_and_tell_no_topic():
    drawn = draw(random.Random(1), BEFORE, 400)
    assert not any("{" in each.text for each in drawn)
    assert {topic: sum(m.topic == topic for m in drawn) for topic in TOPICS} == dict.fromkeys(TOPICS, 100)
    assert len({each.text for each in drawn}) > 250
    first = to_lines(drawn).decode().splitlines()[0]
    assert first == drawn[0].to_json()
    assert "topic" not in first


def test_a_policy_changes_labels_and_no_texts():
    before, after = (draw(random.Random(2), policy, 100) for policy in (BEFORE, AFTER))
    assert [each.text for each in before] == [each.text for each in after]
    differing = {a.topic for a, b in zip(before, after, strict=True) if a.label != b.label}
    assert differing == {"refund", "question"}


def test_inverted_labels_are_all_wrong():
    drawn = draw(random.Random(3), AFTER, 50)
    assert all(a.label != b.label and a.text == b.text for a, b in zip(drawn, inverted(drawn), strict=True))


def test_an_answer_is_a_label_word_or_none():
    question = Question("{text} Priority:", {"high": " high", "low": " low"})
    assert [question.label(text) for text in (" high", "low", " maybe", "")] == ["high", "low", None, None]


SAMPLES = [
    Sample(10, "r-0", 0, 20, 40),
    Sample(10, "r-1", 0, 20, 40),
    Sample(70, "r-0", 3, 36, 40),
    Sample(70, "r-1", 0, 22, 40),
    Sample(130, "r-0", 3, 38, 40),
    Sample(130, "r-1", 3, 40, 40),
]


def test_accuracy_is_of_all_requests_or_of_some():
    assert accuracy(SAMPLES) == pytest.approx(176 / 240)
    assert accuracy(SAMPLES, "r-1") == pytest.approx(82 / 120)
    assert accuracy(SAMPLES, "r-0", 3) == pytest.approx(74 / 80)


def test_stretches_of_versions_leave_no_gap():
    ours = [sample for sample in SAMPLES if sample.replica == "r-1"]
    assert stretches(ours) == [Stretch(0, 10, 130), Stretch(3, 130, 130)]
    back = [*ours, Sample(190, "r-1", 0, 1, 40)]
    assert [(s.version, s.begin, s.end) for s in stretches(back)] == [(0, 10, 130), (3, 130, 190), (0, 190, 190)]


def test_a_line_has_time_versions_accuracy_and_event():
    entry = Entry(185.9, "operator", "RoundStarted: round 2 begins", "")
    assert line(entry, SAMPLES[2:4]).split() == ["03:05", "v3", "base", "90%", "55%", *entry.text.split()]
    assert len(line(Entry(0, "world", "x" * 500), ())) < 200


def test_the_timeline_tells_events_and_changes_of_version_and_nothing_else():
    told: list[str] = []
    seconds = iter(range(0, 1000, 5))
    timeline = Timeline(told.append, lambda: float(next(seconds)))
    timeline.tell("world", "it begins", "begins")
    timeline.measured([Sample(10, "r-0", 0, 1, 2)])
    timeline.measured([Sample(12, "r-0", 0, 2, 2)])
    timeline.measured([Sample(14, "r-0", 3, 2, 2)])
    assert [text.split("  ")[-1].strip() for text in told] == ["* it begins", "= (measured)", "= (measured)"]
    assert len(timeline.samples) == 3
    assert [entry.mark for entry in timeline.entries] == ["begins"]


def test_an_old_sample_is_no_present_figure():
    clock = [0.0]
    timeline = Timeline(lambda _: None, lambda: clock[0])
    timeline.samples.append(Sample(5, "r-0", 1, 1, 1))
    clock[0] = 60.0
    assert [sample.version for sample in timeline.latest()] == [1]
    clock[0] = 66.0
    assert timeline.latest() == []


def test_the_picture_is_one_svg_with_every_sample_and_every_marked_event():
    entries = [
        Entry(5, "world", "told, not drawn"),
        Entry(60, "world", "the meaning shifts", "the <meaning> shifts"),
        Entry(120, "operator", "RolledBack: version 3", "rolled back"),
    ]
    tree = ET.fromstring(picture("Served & measured", SAMPLES, entries))
    assert tree.tag == f"{SVG}svg"
    texts = [text.text for text in tree.iter(f"{SVG}text")]
    assert "Served & measured" in texts
    assert "1. 01:00 the <meaning> shifts" in texts
    assert "2. 02:00 rolled back" in texts
    assert not any("not drawn" in (text or "") for text in texts)
    dots = [circle for circle in tree.iter(f"{SVG}circle") if circle.get("r") == "2.5"]
    assert len(dots) == len(SAMPLES)
    lowest, highest = (float(dots[i].get("cy")) for i in (0, 5))
    assert lowest > highest, "half of the answers is below all of them"


def test_a_picture_of_one_moment_is_drawn_all_the_same():
    assert "nan" not in picture("t", [Sample(0, "r", 0, 0, 1)], [])
