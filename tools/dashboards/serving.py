"""Serving replicas: what each one serves, how switches go, and what fails."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from tools.dashboards.parts import board, choice, graph, number, timeline

WHERE = '{namespace=~"$namespace",model_name=~"$model"}'
RATE = "[$__rate_interval]"


def quantile(share: float, metric: str) -> str:
    """A quantile over all replicas."""
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{WHERE}{RATE})))"


def dashboard() -> Dashboard:
    """The dashboard *Serving*."""
    made = board("serving", "Serving", "vLLM replicas that serve adapters, by their own account.")
    made = made.with_variable(
        choice("namespace", "Namespace", "label_values(zo_serving_version, namespace)", several=True)
    ).with_variable(
        choice(
            "model",
            "Model",
            'label_values(zo_serving_version{namespace=~"$namespace"}, model_name)',
            several=True,
        )
    )
    return _failures(_switches(_now(made)))


def _now(made: Dashboard) -> Dashboard:
    behind = f"sum(zo_serving_converged{WHERE} == bool 0) or vector(0)"
    return (
        made.with_row(Row("Now"))
        .with_panel(number("Replicas", f"count(zo_serving_version{WHERE})", "none", "That serve a version.", width=6))
        .with_panel(number("Behind", behind, "none", "That do not serve what they are told.", bad_from=1, width=6))
        .with_panel(
            number(
                "Versions",
                f'count(count_values by (model_name) ("version", zo_serving_version{WHERE}))',
                "none",
                "Different ones that answer at this moment.",
                width=6,
            )
        )
        .with_panel(
            number(
                "Switches",
                f"sum(increase(zo_serving_swaps_total{WHERE}[$__range]))",
                "none",
                "In the time shown.",
                width=6,
            )
        )
        .with_panel(
            graph(
                "Version of each replica",
                "none",
                "What answers requests.",
                (f"zo_serving_version{WHERE}", "{{model_name}} {{pod}}"),
                width=12,
            )
        )
        .with_panel(
            timeline(
                "Follows",
                "1 while the replica serves what it is told.",
                f"zo_serving_converged{WHERE}",
                "{{model_name}} {{pod}}",
                width=12,
            )
        )
    )


def _switches(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("Switches"))
        .with_panel(
            graph(
                "Switches",
                "none",
                "To another version, in each interval.",
                (f"sum by (model_name) (increase(zo_serving_swaps_total{WHERE}{RATE}))", "{{model_name}}"),
            )
        )
        .with_panel(
            graph(
                "Time of a switch",
                "s",
                "From the first sight of a version until new requests go to it.",
                (quantile(0.5, "zo_serving_swap_seconds"), "median"),
                (quantile(0.95, "zo_serving_swap_seconds"), "95 %"),
            )
        )
        .with_panel(
            graph(
                "Time to load",
                "s",
                "What the engine took of it.",
                (quantile(0.5, "zo_serving_load_seconds"), "median"),
                (quantile(0.95, "zo_serving_load_seconds"), "95 %"),
            )
        )
    )


def _failures(made: Dashboard) -> Dashboard:
    return (
        made.with_row(Row("When something is wrong"))
        .with_panel(
            graph(
                "Failed attempts",
                "none",
                "To verify, build or load a version, in each interval, by reason.",
                (f"sum by (reason) (increase(zo_serving_failures_total{WHERE}{RATE}))", "{{reason}}"),
            )
        )
        .with_panel(
            graph(
                "Told and not done",
                "s",
                "How long replicas have known of a version that they do not serve.",
                (
                    f"zo_serving_desired_state_age_seconds{WHERE} and zo_serving_converged{WHERE} == 0",
                    "{{model_name}} {{pod}}",
                ),
            )
        )
        .with_panel(
            graph(
                "Step of each replica", "none", "Of the log.", (f"zo_serving_step{WHERE}", "{{model_name}} {{pod}}")
            )
        )
    )
