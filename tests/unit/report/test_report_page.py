"""The page is valid HTML, loads nothing, escapes everything, and says what matters without a script."""

import base64
import dataclasses
import hashlib
import json
import re
from xml.etree import ElementTree

import html5lib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.report_data import report_data, step_series
from zo_runtime.report.model import EvaluationPoint, ReportData, Totals
from zo_runtime.report.render import render

HOSTILE = "</script></style><img src=x onerror=alert(1)>'\"&{{ 7*7 }}"


def parse(page: str) -> ElementTree.Element:
    """The page as a tree; any parse error fails."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def text(tree: ElementTree.Element, path: str) -> list[str]:
    return [" ".join("".join(element.itertext()).split()) for element in tree.findall(path)]


def empty() -> ReportData:
    return report_data(
        0,
        every=1,
        steps=step_series(0),
        evaluations=(),
        versions=(),
        quarantine={},
        settings={},
        totals=Totals(0, 0.0, 0, 0),
    )


RUNS = {
    "usual": report_data(),
    "no accuracy": report_data(accuracy=False),
    "long": report_data(20_000, every=500),
    "one step": report_data(1, every=1),
    "one evaluation": report_data(evaluations=(EvaluationPoint(0, 0.7, 0.5, 10),), versions=()),
    "loss without end": report_data(
        evaluations=(EvaluationPoint(0, 0.7, 0.5, 9), EvaluationPoint(1, np.inf, 0.5, 9))
    ),
    "hostile": report_data(
        run=HOSTILE, uri=HOSTILE, model=HOSTILE, quarantine={HOSTILE: 1}, settings={HOSTILE: {HOSTILE: HOSTILE}}
    ),
    "nothing": empty(),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_page_is_valid_complete_and_alone(name: str) -> None:
    page = render(RUNS[name])
    tree = parse(page)
    ids = [element.attrib["id"] for element in tree.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    for element in tree.iter():
        references = element.attrib.get("aria-labelledby", "").split()
        assert set(references) <= set(ids)
        # Nothing that a browser would fetch, and nothing that the content policy would refuse.
        assert not {"src", "href", "style", "onerror", "onclick", "srcset"} & set(element.attrib)
        assert element.tag not in {"link", "img", "iframe", "base", "form", "object"}
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp|innerHTML|eval\(", page)
    assert len(page) < 300_000
    assert page == render(RUNS[name])


def test_the_headline_comes_first_and_tells_the_gain() -> None:
    tiles = text(parse(render(RUNS["usual"])), ".//li[@class]")
    assert tiles[0] == "Held-out accuracy 54.0% \u2192 74.0% +20.0 points, on 872 examples at step 400"
    assert tiles[1] == "Held-out loss 0.690 \u2192 0.490 \u221229%, on 872 examples at step 400"
    assert tiles[2] == "Steps 400 4 versions published"
    assert tiles[3].startswith("Time in steps 2 min 20 s median 0.3")
    assert tiles[4] == "Update log 22.0 B a step 8.59 KiB in all"
    assert tiles[5] == "Tokens scored 240,000 1,714 a second"


def test_without_accuracy_the_loss_leads_and_its_chart_takes_the_row() -> None:
    tree = parse(render(RUNS["no accuracy"]))
    assert text(tree, ".//li[@class]")[0].startswith("Held-out loss 0.690 \u2192 0.490")
    assert [figure.attrib["id"] for figure in tree.iter("figure")] == ["loss", "gradient", "time"]
    assert tree.find(".//figure[@class='hero']") is not None


def test_the_lineage_is_newest_first_and_names_each_predecessor() -> None:
    data = RUNS["usual"]
    rows = text(parse(render(data)), ".//section[@aria-labelledby='lineage']//tbody/tr")
    assert [row[0] for row in rows] == ["4", "3", "2", "1"]
    assert rows[-1].endswith("first")
    assert data.versions[0].digest[:12] in rows[-1]
    assert "2026-03-01 10:01 UTC" in rows[-1]


def test_settings_are_all_shown_and_credentials_in_urls_are_not() -> None:
    page = render(RUNS["usual"])
    rows = text(parse(page), ".//div[@class='settings']//tr")
    assert "name SmolLM2-135M-Instruct".replace(" ", "") in [row.replace(" ", "") for row in rows]
    assert 'classification.labels.0" terrible"' in rows
    assert "targetModulesq_proj, k_proj" in rows
    assert "revision\u2013" in rows
    assert "hunter2" not in page
    assert "https://\u2026@objects.example" in page


def test_an_empty_run_says_so() -> None:
    page = render(empty())
    for sentence in ("No step has been recorded yet.", "No version has been published yet.", "None: every record"):
        assert sentence in page
    assert text(parse(page), ".//li[@class='tile']")[0] == "Steps 0 0 versions published"
    assert text(parse(page), ".//pre") == ["zo verify s3://adapters/reviews"]


def test_the_commands_can_be_pasted_into_a_shell() -> None:
    commands = text(parse(render(report_data(uri="/data/my runs/a'b"))), ".//pre")[0]
    assert """zo verify '/data/my runs/a'"'"'b'""" in commands
    assert commands.endswith("--step 400 --out adapter")


def test_only_our_own_script_and_style_may_act() -> None:
    page = render(RUNS["usual"])
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;;")
    for tag in ("style", "script"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;" in policy[1]


def test_tooltips_have_the_drawn_points() -> None:
    tree = parse(render(RUNS["long"]))
    for figure in tree.iter("figure"):
        (script,) = figure.findall("script")
        layers = json.loads(script.text or "", parse_constant=pytest.fail)
        assert layers
        for layer in layers:
            assert 1 <= len(layer["x"]) == len(layer["y"]) <= 600
            assert layer["x"] == sorted(layer["x"])


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co")), max_size=40))
def test_any_name_stays_text(name: str) -> None:
    data = dataclasses.replace(RUNS["one step"], run=name, quarantine={name: 1}, settings={"a": {name: [name, 1]}})
    tree = parse(render(data))
    assert (tree.findtext(".//h1") or "") == name
    assert len(list(tree.iter("script"))) == len(list(tree.iter("figure"))) + 1


def themes() -> dict[str, dict[str, str]]:
    """The colours of the light and the dark theme, from the page's style."""
    style = re.search(r"<style>(.*?)</style>", render(empty()), re.DOTALL)
    assert style is not None
    blocks = re.findall(r":root \{(.*?)\}", style[1], re.DOTALL)
    colours = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]
    return {"light": colours[0], "dark": colours[0] | colours[1], "print": colours[0] | colours[2]}


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2, 1 to 21."""

    def luminance(colour: str) -> float:
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_and_lines_have_enough_contrast(theme: str) -> None:
    colours = themes()[theme]
    for ink, paper in (("ink", "paper"), ("ink", "card"), ("soft", "paper"), ("soft", "card"), ("lead-ink", "lead")):
        assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    assert contrast(colours["lead-soft"], colours["lead"]) >= 4.5
    for tone in ("tone1", "tone2"):
        assert contrast(colours[tone], colours["card"]) >= 3, tone
