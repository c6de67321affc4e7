"""docs/monitoring.md names every metric and every alert there is, and no other; its links and the runbooks' lead
somewhere."""

import re

import pytest
import yaml
from prometheus_client import CollectorRegistry
from tools.chart import CHART, ROOT

from zo_operator.metrics import Metrics
from zo_runtime.serving.metrics import ServingMetrics
from zo_runtime.telemetry.metrics import RunMetrics

DOCS = ROOT / "docs"
PAGE = (DOCS / "monitoring.md").read_text()
PAGES = [DOCS / "monitoring.md", DOCS / "gitops.md", *sorted((DOCS / "runbooks").glob("*.md"))]


def exposed() -> set[str]:
    """Names of all metrics of the project as a scrape shows them, less the suffixes of histograms."""
    operator = Metrics()
    operator.watch(lambda: (), lambda: {}, lambda: 0)
    replica = CollectorRegistry()
    ServingMetrics(replica)
    suffixes = {"counter": "_total", "info": "_info"}
    return {
        family.name + suffixes.get(family.type, "")
        for registry in (operator.registry, RunMetrics("r").registry, replica)
        for family in registry.collect()
        if family.name.startswith("zo_")
    }


def test_every_metric_is_listed_and_no_other():
    tables = PAGE.partition("## Metrics of resources")[2]
    listed = set(re.findall(r"\b(zo_[a-z_]+[a-z])\b", tables))
    assert listed == exposed()


def test_every_alert_is_listed_in_its_order():
    groups = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"]]
    assert re.findall(r"^\| \[(\w+)\]", PAGE, re.MULTILINE) == alerts


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    for link in links:
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = (page.parent / path) if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target.read_text()), link
