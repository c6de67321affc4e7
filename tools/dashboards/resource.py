"""One resource: what it learns, from what, how its rounds ended, and what is served of it."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from tools.dashboards.parts import board, choice, graph, number, timeline, word

WHERE = 'namespace="$namespace",name="$name"'
RUN = '{namespace="$namespace",run="$name"}'
RATE = "[$__rate_interval]"


def newest(metric: str, by: str = "", *labels: str) -> str:
    """The resource's metric, once for each value of the labels `by`."""
    return f"max {f'by ({by}) ' if by else ''}(zo_resource_{metric}{{{','.join((WHERE, *labels))}}})"


def quantile(share: float, metric: str) -> str:
    """A quantile of one of the run's histograms."""
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{RUN}{RATE})))"


def dashboard() -> Dashboard:
    """The dashboard *Resource*."""
    made = board("resource", "Resource", "One ZOFineTune: its rounds, its data, its loss, its replicas.")
    made = made.with_variable(choice("namespace", "Namespace", "label_values(zo_resource_phase, namespace)"))
    made = made.with_variable(choice("name", "Name", 'label_values(zo_resource_phase{namespace="$namespace"}, name)'))
    return _serving(_run(_rounds(_learning(_now(made)))))


def _now(made: Dashboard) -> Dashboard:
    progress = f"{newest('step')} / {newest('steps')}"
    return (
        made.with_row(Row("Now"))
        .with_panel(word("Phase", f"{newest('phase', 'phase')} == 1", "phase", "Where the resource is."))
        .with_panel(number("Round", newest("round"), "none", "Number of the newest round."))
        .with_panel(number("Progress", progress, "percentunit", "Share of the round's steps that are finished."))
        .with_panel(
            number("Accuracy", newest("accuracy"), "percentunit", "Held-out accuracy of the latest evaluation.")
        )
        .with_panel(number("Version", newest("version"), "none", "Newest published version."))
        .with_panel(number("Served", newest("serving_version"), "none", "Version that replicas are to serve."))
    )


def _learning(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("Learning"))
        .with_panel(
            graph(
                "Loss",
                "none",
                "Training loss of the last step, and held-out loss, in nats.",
                (newest("loss"), "training"),
                (newest("held_out_loss"), "held out"),
                (newest("held_out_loss_before"), "held out, before the round"),
            )
        )
        .with_panel(
            graph(
                "Held-out accuracy",
                "percentunit",
                "Now, and before the round.",
                (newest("accuracy"), "now"),
                (newest("accuracy_before"), "before the round"),
            )
        )
        .with_panel(
            graph(
                "Projected gradient",
                "none",
                "Magnitude over directions and steps, before clipping.",
                (quantile(0.5, "zo_projected_gradient_magnitude"), "median"),
                (quantile(0.95, "zo_projected_gradient_magnitude"), "95 %"),
            )
        )
    )


def _rounds(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("Rounds and data"))
        .with_panel(
            timeline(
                "Phase", "When the resource was in which phase.", f"{newest('phase', 'phase')} == 1", "{{phase}}"
            )
        )
        .with_panel(
            timeline(
                "Latest outcome",
                "How the round ended that ended last.",
                f"{newest('last_outcome', 'outcome')} == 1",
                "{{outcome}}",
            )
        )
        .with_panel(
            graph(
                "Rounds that came to nothing",
                "none",
                "One after another.",
                (newest("rejected_rounds_in_a_row"), "rejected"),
                (newest("failed_rounds_in_a_row"), "failed"),
            )
        )
        .with_panel(
            graph(
                "Gain over the served version",
                "none",
                "What the gate measured, in its metric; positive is better.",
                (f"max by (set) (zo_resource_gate_gain{{{WHERE}}})", "{{set}}"),
            )
        )
        .with_panel(
            graph(
                "Fresh data",
                "none",
                "Records and objects that no round has learned from.",
                (newest("fresh_records"), "records"),
                (newest("fresh_objects"), "objects"),
            )
        )
        .with_panel(
            graph(
                "Age of the oldest fresh data",
                "s",
                "How long it has waited.",
                (f"time() - {newest('fresh_oldest_timestamp_seconds')}", "age"),
            )
        )
    )


def _run(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("The running round"))
        .with_panel(
            graph(
                "Time of a step",
                "s",
                "As the pod measures it.",
                (quantile(0.5, "zo_step_seconds"), "median"),
                (quantile(0.95, "zo_step_seconds"), "95 %"),
            )
        )
        .with_panel(
            graph(
                "Tokens scored per second",
                "none",
                "In training steps.",
                (f"sum(rate(zo_tokens_scored_total{RUN}{RATE}))", "tokens"),
            )
        )
        .with_panel(graph("Learning rate", "none", "Of the last step.", (f"zo_learning_rate{RUN}", "{{pod}}")))
        .with_panel(
            graph(
                "Steps not in the log yet",
                "none",
                "What would be lost if the pod ended now.",
                (f"zo_step{RUN} - zo_last_flushed_step{RUN}", "{{pod}}"),
            )
        )
        .with_panel(
            graph(
                "Since the last write to the log",
                "s",
                "Rises while storage does not answer.",
                (f"zo_last_flush_age_seconds{RUN}", "{{pod}}"),
            )
        )
        .with_panel(
            graph(
                "Written to the log",
                "Bps",
                "Bytes per second.",
                (f"sum(rate(zo_log_written_bytes_total{RUN}{RATE}))", "bytes"),
            )
        )
        .with_panel(
            graph(
                "Records set aside",
                "none",
                "Since the pod's start, by reason.",
                (f"sum by (reason) (zo_quarantined_records_total{RUN})", "{{reason}}"),
            )
        )
        .with_panel(graph("Failed pods", "none", "Of the round.", (newest("failures"), "failures")))
        .with_panel(
            graph(
                "Versions published",
                "none",
                "Since the pod's start.",
                (f"zo_publishes_total{RUN}", "{{pod}}"),
            )
        )
    )


def _serving(made: Dashboard) -> Dashboard:
    replicas = (
        'zo_serving_version{namespace="$namespace"} * on (namespace, model_name) group_left () '
        f"{newest('serving_info', 'namespace, model_name')}"
    )
    return (
        made.with_row(Row("Serving"))
        .with_panel(
            graph(
                "Replicas",
                "none",
                "As the operator sees them.",
                (newest("serving_replicas"), "all"),
                (newest("serving_updated"), "serve the version"),
                (newest("serving_failed"), "failed or silent"),
            )
        )
        .with_panel(
            graph("Version of each replica", "none", "As the replicas themselves say.", (replicas, "{{pod}}"))
        )
        .with_panel(
            timeline(
                "Rollout",
                "Whether some replicas try the version, or all are to serve it.",
                f"{newest('serving_stage', 'stage')} == 1",
                "{{stage}}",
            )
        )
    )
