"""Every alert of the chart fires when it should and is quiet when it should, as promtool sees it."""

import json
import re

import pytest
import yaml
from tools.chart import ROOT

from fixtures.chart import CHART, Values, merged, of_kind, only, refusal, render
from fixtures.promtool import Case, check_rules, test_rules

ON: Values = {"metrics": {"prometheusRule": {"enabled": True}}}
HOUR = merged(ON, {"metrics": {"prometheusRule": {"thresholds": {"noFreshDataSeconds": 3600}}}})
ALERTS = [
    rule["alert"]
    for group in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
JOB = 'job="tuning-zofinetune-metrics"'
OPERATOR = f'{JOB},namespace="team-a"'
RESOURCE = {"namespace": "ml", "name": "sst2"}
SAID = "ZOFineTune ml/sst2"


def series(name: str, *labels: str, job: str = JOB, pod: str = "op-1") -> str:
    """A series of the resource, as the operator's pod tells it."""
    found = [job, 'namespace="ml"', 'name="sst2"', f'pod="{pod}"', *labels]
    return f"zo_resource_{name}{{{','.join(found)}}}"


def phase(word: str) -> str:
    return series("phase", f'phase="{word}"')


def stage(word: str) -> str:
    return series("serving_stage", f'stage="{word}"')


def stalled(job: str = JOB, pod: str = "op-1") -> str:
    return series("condition", 'condition="Stalled"', job=job, pod=pod)


def loss(now: str, before: str = "0.5x60", running: str = "1x60") -> dict[str, str]:
    return {series("held_out_loss_before"): before, series("held_out_loss"): now, phase("Running"): running}


def fires(alert: str, samples: dict[str, str], at: str, summary: str) -> Case:
    return Case(alert, samples, at, RESOURCE, summary)


def no_data(fresh: str = "0x99", waiting: str = "1x99", last: str | None = None) -> dict[str, str]:
    found = {series("fresh_records"): fresh, phase("Waiting"): waiting, series("created_timestamp_seconds"): "0x99"}
    return found | ({series("last_round_completion_timestamp_seconds"): last} if last else {})


def replicas(updated: str, all_told: str = "1x60") -> dict[str, str]:
    return {
        series("serving_replicas"): "3x60",
        series("serving_updated"): updated,
        stage("All"): all_told,
        stage("Canary"): "0x60",
    }


RUN = 'namespace="ml",pod="zo-sst2-1-0",run="sst2"'
REPLICA = 'namespace="ml",pod="vllm-0",model_name="assistant"'


def upload(age: str, step: str, flushed: str | None) -> dict[str, str]:
    found = {f"zo_last_flush_age_seconds{{{RUN}}}": age, f"zo_step{{{RUN}}}": step}
    return found | ({f"zo_last_flushed_step{{{RUN}}}": flushed} if flushed else {})


def follows(converged: str, age: str) -> dict[str, str]:
    return {
        f"zo_serving_converged{{{REPLICA}}}": converged,
        f"zo_serving_desired_state_age_seconds{{{REPLICA}}}": age,
    }


def requests(good: str, bad: str, code: str = "500") -> dict[str, str]:
    name = "zo_operator_api_requests_total"
    return {
        f'{name}{{{OPERATOR},verb="GET",code="200"}}': good,
        f'{name}{{{OPERATOR},verb="GET",code="{code}"}}': bad,
    }


CASES = [
    fires("ZOFineTuneFailed", {stalled(): "0x5 1x20"}, "15m", f"{SAID} has failed."),
    # A standby tells the same, and there is one alert all the same.
    fires(
        "ZOFineTuneFailed",
        {stalled(): "1x20", stalled(pod="op-2"): "1x20"},
        "15m",
        f"{SAID} has failed.",
    ),
    Case("ZOFineTuneFailed", {stalled(): "0x20"}, "15m"),
    Case("ZOFineTuneFailed", {stalled(): "0x13 1x20"}, "15m"),
    Case("ZOFineTuneFailed", {stalled(): "1x8 0x20"}, "15m"),
    Case("ZOFineTuneFailed", {stalled(job='job="other-metrics"'): "1x20"}, "15m"),
    fires(
        "ZOFineTuneRoundsFailing",
        {series("failed_rounds_in_a_row"): "1x5 2x5"},
        "8m",
        f"The last 2 rounds of {SAID} failed.",
    ),
    Case("ZOFineTuneRoundsFailing", {series("failed_rounds_in_a_row"): "1x10"}, "8m"),
    Case("ZOFineTuneRoundsFailing", {series("failed_rounds_in_a_row"): "2x5 0x5"}, "8m"),
    fires(
        "ZOFineTuneRoundStalled",
        {phase("Running"): "1x60", series("step"): "0+10x10 100x60"},
        "50m",
        f"The round of {SAID} runs and finishes no step.",
    ),
    Case("ZOFineTuneRoundStalled", {phase("Running"): "1x60", series("step"): "0+1x60"}, "50m"),
    Case("ZOFineTuneRoundStalled", {phase("Running"): "1x60", series("step"): "0x25 1x60"}, "50m"),
    Case("ZOFineTuneRoundStalled", {phase("Running"): "1x20 0x60", series("step"): "100x60"}, "50m"),
    # Another operator pod goes on telling of the same round.
    Case(
        "ZOFineTuneRoundStalled",
        {
            series("phase", 'phase="Running"'): "1x20 stale",
            series("phase", 'phase="Running"', pod="op-2"): "_x20 1x60",
            series("step"): "0+10x20 stale",
            series("step", pod="op-2"): "_x20 210+10x60",
        },
        "50m",
    ),
    fires(
        "ZOFineTuneRoundPending",
        {phase("Pending"): "1x100", phase("Stopping"): "0x100"},
        "65m",
        f"The round of {SAID} does not start.",
    ),
    fires(
        "ZOFineTuneRoundPending",
        {phase("Pending"): "0x30 1x100", phase("Stopping"): "1x30 0x100"},
        "65m",
        f"The round of {SAID} does not start.",
    ),
    Case("ZOFineTuneRoundPending", {phase("Pending"): "1x50 0x50", phase("Running"): "0x50 1x50"}, "65m"),
    Case("ZOFineTuneRoundPending", {phase("Queued"): "1x100"}, "65m"),
    fires(
        "ZOFineTuneScheduleMissed",
        {series("next_schedule_timestamp_seconds"): "600x60", phase("Waiting"): "1x60"},
        "30m",
        f"{SAID} is late by 20m 0s.",
    ),
    Case(
        "ZOFineTuneScheduleMissed",
        {series("next_schedule_timestamp_seconds"): "3600x60", phase("Waiting"): "1x60"},
        "30m",
    ),
    Case(
        "ZOFineTuneScheduleMissed",
        {series("next_schedule_timestamp_seconds"): "600x60", phase("Waiting"): "0x60"},
        "30m",
    ),
    fires(
        "ZOFineTuneProbesFailing",
        {series("probe_failures"): "0x5 1x5 2x5 3x5"},
        "20m",
        f"The last 3 looks at the data of {SAID} failed.",
    ),
    Case("ZOFineTuneProbesFailing", {series("probe_failures"): "2x10"}, "8m"),
    Case("ZOFineTuneProbesFailing", {series("probe_failures"): "3x5 stale"}, "8m"),
    # With an hour in place of a day, for the sake of the test's time.
    fires("ZOFineTuneNoFreshData", no_data(), "70m", f"{SAID} has seen no fresh data for 1h 10m 0s."),
    fires("ZOFineTuneNoFreshData", no_data(last="60x99"), "70m", f"{SAID} has seen no fresh data for 1h 9m 0s."),
    Case("ZOFineTuneNoFreshData", no_data(), "60m"),
    Case("ZOFineTuneNoFreshData", no_data(last="1200x99"), "70m"),
    Case("ZOFineTuneNoFreshData", no_data(fresh="3x99"), "70m"),
    Case("ZOFineTuneNoFreshData", no_data(waiting="0x99"), "70m"),
    fires("ZOFineTuneLossDiverging", loss("0.5x20 0.75x60"), "40m", f"The loss of {SAID} runs away, to 750m."),
    fires(
        "ZOFineTuneLossDiverging",
        loss("0.5x60") | {series("loss"): "0.5x20 1x60"},
        "50m",
        f"The loss of {SAID} runs away, to 1.",
    ),
    Case("ZOFineTuneLossDiverging", loss("0.6x60") | {series("loss"): "0.6x60"}, "40m"),
    # One bad batch is no trend.
    Case("ZOFineTuneLossDiverging", loss("0.5x60") | {series("loss"): "0.5x30 2 0.5x60"}, "40m"),
    Case("ZOFineTuneLossDiverging", loss("0.75x60", running="0x60"), "40m"),
    # After a drift, loss is high from the start and comes down: nothing diverges.
    Case("ZOFineTuneLossDiverging", loss("2x20 1.5x60", before="2x60"), "40m"),
    fires(
        "ZOFineTuneGateRejections",
        {series("rejected_rounds_in_a_row"): "2x5 3x5"},
        "8m",
        f"The gate rejected the last 3 rounds of {SAID}.",
    ),
    Case("ZOFineTuneGateRejections", {series("rejected_rounds_in_a_row"): "2x10"}, "8m"),
    Case("ZOFineTuneGateRejections", {series("rejected_rounds_in_a_row"): "3x5 0x5"}, "8m"),
    fires(
        "ZOFineTuneRolledBack",
        {series("last_outcome", 'outcome="RolledBack"'): "0x5 1x5"},
        "8m",
        f"The newest version of {SAID} was rolled back.",
    ),
    Case(
        "ZOFineTuneRolledBack",
        {series("last_outcome", 'outcome="RolledBack"'): "0x10", series("last_outcome", 'outcome="Failed"'): "1x10"},
        "8m",
    ),
    fires(
        "ZOFineTuneRolloutStuck",
        {stage("Canary"): "0x10 1x200"},
        "140m",
        f"A version of {SAID} stays with its first replicas.",
    ),
    Case("ZOFineTuneRolloutStuck", {stage("Canary"): "1x100 0x100", stage("All"): "0x100 1x100"}, "140m"),
    fires("ZOFineTuneReplicasOutdated", replicas("3x10 1x60"), "40m", f"2 replicas of {SAID} serve an old version."),
    Case("ZOFineTuneReplicasOutdated", replicas("3x60"), "40m"),
    Case("ZOFineTuneReplicasOutdated", replicas("1x30 3x60"), "40m"),
    # While the first replicas try a version, the others serve the old one on purpose.
    Case("ZOFineTuneReplicasOutdated", replicas("1x60", all_told="0x60"), "40m"),
    Case(
        "ZORunUploadLag",
        upload("0+60x30", "0+5x30", "10x30"),
        "20m",
        {"namespace": "ml", "pod": "zo-sst2-1-0", "run": "sst2"},
        "Run ml/sst2 has written nothing for 20m 0s.",
    ),
    # Nothing was written at all yet.
    Case(
        "ZORunUploadLag",
        upload("0+60x30", "0+5x30", None),
        "20m",
        {"namespace": "ml", "pod": "zo-sst2-1-0", "run": "sst2"},
        "Run ml/sst2 has written nothing for 20m 0s.",
    ),
    Case("ZORunUploadLag", upload("0+60x10 0+60x20", "0+5x30", "10x30"), "20m"),
    # A long evaluation: all steps are written.
    Case("ZORunUploadLag", upload("0+60x30", "50x30", "50x30"), "20m"),
    # A long start: there are no steps.
    Case("ZORunUploadLag", {f"zo_last_flush_age_seconds{{{RUN}}}": "0+60x30"}, "20m"),
    Case(
        "ZOServingReplicaOutdated",
        follows("0x30", "0+60x30"),
        "20m",
        {"namespace": "ml", "pod": "vllm-0", "model_name": "assistant"},
        "Replica ml/vllm-0 does not serve assistant as it is told.",
    ),
    Case("ZOServingReplicaOutdated", follows("1x30", "0+60x30"), "20m"),
    Case("ZOServingReplicaOutdated", follows("0x30", "0+60x15 0+60x15"), "20m"),
    Case(
        "ZOOperatorErrors",
        {f'zo_operator_reconciles_total{{{OPERATOR},pod="a",result="error"}}': "0x5 1x30"},
        "10m",
        {"namespace": "team-a"},
        "The zofinetune operator in team-a fails on a resource.",
    ),
    Case("ZOOperatorErrors", {f'zo_operator_reconciles_total{{{OPERATOR},pod="a",result="error"}}': "7x30"}, "10m"),
    Case("ZOOperatorErrors", {f'zo_operator_reconciles_total{{{OPERATOR},pod="a",result="ok"}}': "0+9x30"}, "10m"),
    Case(
        "ZOOperatorAPIErrors",
        requests("0+30x60", "0+10x60"),
        "40m",
        {"namespace": "team-a"},
        "25% of the requests of the operator in team-a fail.",
    ),
    Case(
        "ZOOperatorAPIErrors",
        requests("0x60", "0+10x60", code="0"),
        "40m",
        {"namespace": "team-a"},
        "100% of the requests of the operator in team-a fail.",
    ),
    Case("ZOOperatorAPIErrors", requests("0+30x60", "0+1x60"), "40m"),
    # Conflicts and what is not found are answers like others.
    Case("ZOOperatorAPIErrors", requests("0+30x60", "0+30x60", code="409"), "40m"),
    Case("ZOOperatorDown", {}, "15m", {}, "No zofinetune operator works in team-a."),
    Case(
        "ZOOperatorDown",
        {f'zo_operator_active{{{OPERATOR},pod="a"}}': "0x30"},
        "15m",
        {},
        "No zofinetune operator works in team-a.",
    ),
    Case(
        "ZOOperatorDown",
        {'zo_operator_active{job="tuning-zofinetune-metrics",namespace="team-b"}': "1x30"},
        "15m",
        {},
        "No zofinetune operator works in team-a.",
    ),
    Case(
        "ZOOperatorDown",
        {f'zo_operator_active{{{OPERATOR},pod="a"}}': "1x30", f'zo_operator_active{{{OPERATOR},pod="b"}}': "0x30"},
        "15m",
    ),
    Case("ZOOperatorDown", {f'zo_operator_active{{{OPERATOR},pod="a"}}': "_x8 1x30"}, "15m"),
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
