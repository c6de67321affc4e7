"""The metrics say what happened, under the names that dashboards rely on."""

import math
import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from zo_runtime.records import EvaluationRecord, FlushRecord, PublishRecord, StepRecord
from zo_runtime.telemetry.metrics import MetricsObserver, RunMetrics

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def step(number: int = 1, **changes: object) -> StepRecord:
    values: dict[str, object] = {
        "step": number,
        "subspace": 0,
        "loss_plus": (0.75, 0.5),
        "loss_minus": (0.25, 0.5),
        "projected_gradients": (-256.0, 0.0),
        "coefficients": (0.1, 0.0),
        "learning_rate": 1e-3,
        "tokens": 600,
        "seconds": 0.3,
    }
    return StepRecord(**(values | changes))  # type: ignore[arg-type]


def samples(metrics: RunMetrics, accept: str = "") -> dict[str, float]:
    """Value by `name` or `name{labels but run}`; asserts that every sample carries the run."""
    found = {}
    for family in parse_text(metrics.expose(accept)[0].decode()):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("run") == "demo"
            rest = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
            found[sample.name + (f"{{{rest}}}" if rest else "")] = sample.value
    return found


def test_events_become_metrics() -> None:
    now = [100.0]
    metrics = RunMetrics("demo", clock=lambda: now[0])
    observer = MetricsObserver(metrics)
    metrics.set_total_steps(400)
    observer.on_phase("Training")
    observer.on_step(step(1))
    observer.on_step(step(2, seconds=0.6))
    observer.on_evaluation(EvaluationRecord(2, 0.6, 0.7, 200, 3.0))
    now[0] = 110.0
    observer.on_flush(FlushRecord(2, 1000, "ab", 1000))
    observer.on_flush(FlushRecord(2, 24, "ab", 1024))
    observer.on_publish(PublishRecord(1, 2, "ab"))
    observer.on_quarantine({"too long": 3, "no label": 1})
    observer.on_quarantine({"too long": 1})
    observer.on_message("hello")
    now[0] = 117.5
    got = samples(metrics)
    expected = {
        "zo_step": 2,
        "zo_total_steps": 400,
        "zo_loss": 0.5,
        "zo_learning_rate": 1e-3,
        "zo_projected_gradient": -128,
        "zo_projected_gradient_magnitude_count": 4,
        "zo_projected_gradient_magnitude_sum": 512,
        "zo_projected_gradient_magnitude_bucket{le=100.0}": 2,
        "zo_projected_gradient_magnitude_bucket{le=300.0}": 4,
        "zo_step_seconds_count": 2,
        "zo_step_seconds_bucket{le=0.5}": 1,
        "zo_step_seconds_bucket{le=+Inf}": 2,
        "zo_tokens_scored_total": 1200,
        "zo_tokens_per_second": 1000,
        "zo_held_out_loss": 0.6,
        "zo_held_out_accuracy": 0.7,
        "zo_evaluations_total": 1,
        "zo_publishes_total": 1,
        "zo_log_written_bytes_total": 1024,
        "zo_last_flushed_step": 2,
        "zo_last_flush_age_seconds": 7.5,
        "zo_quarantined_records_total{reason=too long}": 4,
        "zo_quarantined_records_total{reason=no label}": 1,
    }
    assert {name: got[name] for name in expected} == expected
    assert any(name.startswith("zo_build_info{version=") for name in got)


def test_what_is_not_known_yet_is_absent_and_counters_start_at_zero() -> None:
    got = samples(RunMetrics("demo", clock=lambda: 5.0))
    assert not {"zo_loss", "zo_step", "zo_held_out_accuracy", "zo_last_flushed_step"} & set(got)
    assert got["zo_evaluations_total"] == got["zo_step_seconds_count"] == got["zo_last_flush_age_seconds"] == 0


def test_an_objective_without_accuracy_shows_none() -> None:
    metrics = RunMetrics("demo")
    metrics.add_evaluation(EvaluationRecord(0, 2.5, None, 10, 1.0))
    assert "zo_held_out_accuracy" not in samples(metrics)


def test_a_diverged_step_shows_and_does_not_spoil_the_histogram() -> None:
    metrics = RunMetrics("demo")
    metrics.add_step(step(1, loss_plus=(math.nan, 0.5), projected_gradients=(math.nan, 2.0)))
    got = samples(metrics)
    assert math.isnan(got["zo_loss"])
    assert got["zo_projected_gradient_magnitude_sum"] == 2
    assert got["zo_projected_gradient_magnitude_count"] == 1


def test_two_runs_in_one_process_do_not_meet() -> None:
    first, second = RunMetrics("demo"), RunMetrics("other")
    first.add_step(step(7))
    assert b'run="demo"' not in second.expose("")[0]


def test_the_content_type_follows_the_accept_header() -> None:
    metrics = RunMetrics('odd "name"\n')
    metrics.add_step(step())
    body, kind = metrics.expose(OPENMETRICS)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    families = list(parse_openmetrics(body.decode()))
    assert {sample.labels["run"] for family in families for sample in family.samples} == {'odd "name"\n'}
    assert metrics.expose("text/html")[1].startswith("text/plain; version=0.0.4")


@given(
    st.text(alphabet=[chr(code) for code in range(256)])
    | st.builds("application/openmetrics-text;version={};escaping={}".format, st.text(), st.text())
    | st.builds("text/plain;version={}\r\n X: y".format, st.text())
)
def test_any_accept_header_is_answered_in_one_header_line(accept: str) -> None:
    body, kind = RunMetrics("demo").expose(accept)
    assert b"zo_build_info" in body
    assert not re.search(r"[\r\n]", kind)
