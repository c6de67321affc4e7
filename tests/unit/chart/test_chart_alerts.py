"""Every alert of the chart fires when it should and is quiet when it should, as promtool sees it."""

import json
import re

import pytest
import yaml
from tools.chart import ROOT

from fixtures.alert_cases import CASES, SAID, fires, series, stalled
from fixtures.chart import CHART, Values, merged, of_kind, only, refusal, render
from fixtures.promtool import Case, check_rules, test_rules

ON: Values = {"metrics": {"prometheusRule": {"enabled": True}}}
HOUR = merged(ON, {"metrics": {"prometheusRule": {"thresholds": {"noFreshDataSeconds": 3600}}}})
ALERTS = [
    rule["alert"]
    for group in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]


def groups(values: Values = ON) -> list:
    return only(render(values), "PrometheusRule")["spec"]["groups"]


def rules(values: Values = ON) -> dict:
    return {rule["alert"]: rule for group in groups(values) for rule in group["rules"]}


def test_every_alert_has_a_case_that_fires_and_one_that_does_not():
    for alert in ALERTS:
        said = {case.fires for case in CASES if case.alert == alert}
        assert said == {True, False}, alert


@pytest.mark.parametrize("alert", ALERTS)
def test_it_fires_when_it_should_and_not_otherwise(alert, tmp_path):
    values = HOUR if alert == "ZOFineTuneNoFreshData" else ON
    verdict = test_rules(tmp_path, groups(values), [case for case in CASES if case.alert == alert])
    assert verdict.ok, verdict.said


def test_the_test_of_alerts_can_fail(tmp_path):
    case = Case("ZOFineTuneGateRejections", {series("rejected_rounds_in_a_row"): "3x5"}, "3m")
    assert not test_rules(tmp_path, groups(), [case]).ok


@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_promtool_finds_nothing_wrong(scope, tmp_path):
    verdict = check_rules(tmp_path, groups(ON | {"rbac": {"scope": scope}}))
    assert verdict.ok and f"{len(ALERTS)} rules found" in verdict.said, verdict.said


def test_a_release_for_some_namespaces_looks_at_no_others(tmp_path):
    values = ON | {"rbac": {"scope": "namespace", "namespaces": ["ml", "research"]}}
    for alert, rule in rules(values).items():
        if not alert.startswith("ZOOperator"):
            selectors = re.findall(r"zo_\w+{([^}]*)}", rule["expr"])
            assert selectors and all('namespace=~"ml|research"' in each for each in selectors), alert
    foreign = {stalled().replace('namespace="ml"', 'namespace="other"'): "1x20"}
    cases = [fires("ZOFineTuneFailed", {stalled(): "1x20"}, "15m", f"{SAID} has failed.")]
    assert test_rules(tmp_path, groups(values), [*cases, Case("ZOFineTuneFailed", foreign, "15m")]).ok


def test_thresholds_labels_and_the_runbooks_place_are_values(tmp_path):
    values = {
        "metrics": {
            "prometheusRule": {
                "enabled": True,
                "alertLabels": {"team": "ml", "severity": "page"},
                "runbookUrl": "https://git.example.org/zofinetune/docs/runbooks/",
                "thresholds": {"rejectedRounds": 2},
            }
        }
    }
    rule = rules(values)["ZOFineTuneGateRejections"]
    assert rule["labels"] == {"team": "ml", "severity": "page"}
    place = "https://git.example.org/zofinetune/docs/runbooks/ZOFineTuneGateRejections.md"
    assert rule["annotations"]["runbook_url"] == place
    summary = f"The gate rejected the last 2 rounds of {SAID}."
    case = fires("ZOFineTuneGateRejections", {series("rejected_rounds_in_a_row"): "2x10"}, "8m", summary)
    verdict = test_rules(tmp_path, groups(values), [case])
    assert verdict.ok, verdict.said


def test_an_alert_can_be_left_out_and_a_misspelt_one_is_refused():
    values = {"metrics": {"prometheusRule": {"enabled": True, "disabled": ["ZORunUploadLag"]}}}
    assert rules().keys() - rules(values).keys() == {"ZORunUploadLag"}
    assert "zofinetune.runs" not in {group["name"] for group in groups(values)}
    words = refusal({"metrics": {"prometheusRule": {"disabled": ["ZORunUploadLagg"]}}})
    assert "/metrics/prometheusRule/disabled/0" in words and "'ZORunUploadLag'" in words


def test_an_operator_that_is_turned_off_is_not_down():
    assert "ZOOperatorDown" not in rules(ON | {"replicas": 0})


def test_the_schema_knows_every_alert_and_every_threshold_is_used():
    schema = json.loads((CHART / "values.schema.json").read_text())
    rule = schema["properties"]["metrics"]["properties"]["prometheusRule"]["properties"]
    assert rule["disabled"]["items"]["enum"] == ALERTS
    text = (CHART / "files" / "alerts.yaml").read_text()
    used = set(re.findall(r"<<(\w+)>>", text)) - {"resources", "pods", "operator", "namespace"}
    assert used == set(rule["thresholds"]["properties"])


def test_every_alert_has_labels_and_words_and_nothing_is_left_to_fill_in():
    found = rules()
    assert list(found) == ALERTS
    for alert, rule in found.items():
        assert rule["labels"]["severity"] in ("warning", "critical"), alert
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert "<<" not in json.dumps(rule), alert


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    pages = {path.stem: path.read_text() for path in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert pages.keys() == set(ALERTS)
    for alert, text in pages.items():
        assert text.startswith(f"# {alert}\n")
        assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Meaning", "## Look", "## Do"]


def test_no_rule_is_made_unless_it_is_asked_for():
    assert of_kind(render(), "PrometheusRule") == []
