"""All resources at a glance, and the operator that drives them."""

from __future__ import annotations

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue
from tools.dashboards.parts import HEIGHT, SOURCE, board, choice, graph, number, query

WHERE = 'namespace=~"$namespace"'
EACH = "namespace, name"


def newest(metric: str, by: str = EACH, *labels: str) -> str:
    """The metric of every resource, once."""
    return f"max by ({by}) (zo_resource_{metric}{{{','.join((WHERE, *labels))}}})"


def dashboard() -> Dashboard:
    """The dashboard *Fleet*."""
    made = board("fleet", "Fleet", "Every ZOFineTune: what it does, what it has learned, what is served.")
    made = made.with_variable(
        choice("namespace", "Namespace", "label_values(zo_resource_phase, namespace)", several=True)
    )
    return _operator(_history(_overview(made)))


def _overview(made: Dashboard) -> Dashboard:
    stalled, running = 'condition="Stalled"', 'phase="Running"'
    failed = f"sum({newest('condition', EACH, stalled)} == bool 1) or vector(0)"
    behind = f"sum({newest('serving_replicas')} - on ({EACH}) {newest('serving_updated')}) or vector(0)"
    rejected = f"sum({newest('rejected_rounds_in_a_row')} > bool 0) or vector(0)"
    return (
        made.with_row(Row("Resources"))
        .with_panel(
            number("Resources", f"count({newest('created_timestamp_seconds')})", "none", "How many there are.")
        )
        .with_panel(
            number(
                "Running",
                f"sum({newest('phase', EACH, running)})",
                "none",
                "Rounds that run now, each on a GPU of its own.",
            )
        )
        .with_panel(number("Failed", failed, "none", "Resources that wait for somebody's change.", bad_from=1))
        .with_panel(
            number("Rejected", rejected, "none", "Resources whose latest round the gate rejected.", bad_from=1)
        )
        .with_panel(
            number("Replicas behind", behind, "none", "Replicas that do not serve the newest version.", bad_from=1)
        )
        .with_panel(
            number(
                "Tokens scored",
                f"sum({newest('tokens_per_second')}) or vector(0)",
                "none",
                "Tokens that all running rounds score per second.",
            )
        )
        .with_panel(_table())
    )


# Column by column: title, expression, unit.
_COLUMNS = (
    ("Round", newest("round"), "none"),
    ("Progress", f"{newest('step')} / on ({EACH}) {newest('steps')}", "percentunit"),
    ("Accuracy before", newest("accuracy_before"), "percentunit"),
    ("Accuracy", newest("accuracy"), "percentunit"),
    ("Version", newest("version"), "none"),
    ("Served", newest("serving_version"), "none"),
    ("Replicas", newest("serving_replicas"), "none"),
    ("Updated", newest("serving_updated"), "none"),
    ("Rejected in a row", newest("rejected_rounds_in_a_row"), "none"),
    ("Last round ended", f"time() - {newest('last_round_completion_timestamp_seconds')}", "s"),
)


def _table() -> table.Panel:
    made = (
        table.Panel()
        .title("Resources")
        .description("One row each. The name leads to the resource's own dashboard.")
        .datasource(SOURCE)
        .height(2 * HEIGHT)
        .span(24)
        .with_target(query(f"{newest('phase', f'{EACH}, phase')} == 1", ref="A", instant=True, table=True))
    )
    names = {"namespace": "Namespace", "name": "Name", "phase": "Phase"}
    for index, (title, expr, unit) in enumerate(_COLUMNS):
        ref = chr(ord("B") + index)
        made = made.with_target(query(expr, ref=ref, instant=True, table=True))
        made = made.override_by_name(title, [DynamicConfigValue(id_val="unit", value=unit)])
        names[f"Value #{ref}"] = title
    target = "/d/zofinetune-resource?${datasource:queryparam}&var-namespace=${__data.fields.Namespace}"
    link = {"title": "Open", "url": f"{target}&var-name=${{__data.fields.Name}}"}
    order = {name: place for place, name in enumerate(names)}
    return made.override_by_name("Name", [DynamicConfigValue(id_val="links", value=[link])]).transformations(
        [
            DataTransformerConfig(id_val="merge", options={}),
            DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True, "Value #A": True},
                    "indexByName": order,
                    "renameByName": names,
                },
            ),
        ]
    )


def _history(made: Dashboard) -> Dashboard:
    label = "{{namespace}}/{{name}}"
    return (
        made.with_row(Row("Over time"))
        .with_panel(
            graph(
                "Phases",
                "none",
                "How many resources are in each phase.",
                (f"sum by (phase) ({newest('phase', f'{EACH}, phase')}) > 0", "{{phase}}"),
            )
        )
        .with_panel(
            graph("Held-out accuracy", "percentunit", "Of the latest evaluation.", (newest("accuracy"), label))
        )
        .with_panel(
            graph("Versions served", "none", "What replicas are to serve.", (newest("serving_version"), label))
        )
        .with_panel(
            graph(
                "Rounds that came to nothing",
                "none",
                "Rejected by the gate, or failed, one after another.",
                (newest("rejected_rounds_in_a_row"), f"{label} rejected"),
                (newest("failed_rounds_in_a_row"), f"{label} failed"),
            )
        )
        .with_panel(
            graph("Fresh records", "none", "Records that wait for a round.", (newest("fresh_records"), label))
        )
        .with_panel(
            graph("Tokens scored per second", "none", "By each running round.", (newest("tokens_per_second"), label))
        )
    )


def _operator(made: Dashboard) -> Dashboard:
    rate = "[$__rate_interval]"
    slow = "histogram_quantile(0.99, sum by (le) (rate(zo_operator_{}_seconds_bucket" + rate + ")))"
    return (
        made.with_row(Row("Operator"))
        .with_panel(
            graph("Active", "none", "1 for the replica that works.", ("zo_operator_active", "{{namespace}}/{{pod}}"))
        )
        .with_panel(
            graph(
                "Reconciles",
                "ops",
                "By result; `error` is a defect.",
                (f"sum by (result) (rate(zo_operator_reconciles_total{rate}))", "{{result}}"),
            )
        )
        .with_panel(
            graph(
                "Requests to the Kubernetes API",
                "ops",
                "By code; 0 is no answer.",
                (f"sum by (code) (rate(zo_operator_api_requests_total{rate}))", "{{code}}"),
            )
        )
        .with_panel(
            graph(
                "Slowest of a hundred",
                "s",
                "Time of a reconcile, and of a request to the Kubernetes API.",
                (slow.format("reconcile"), "reconcile"),
                (slow.format("api_request"), "request"),
            )
        )
        .with_panel(
            graph(
                "Work to do",
                "none",
                "Resources in the queue, and objects known.",
                ("sum(zo_operator_queue_depth)", "queue"),
                ("sum by (kind) (zo_operator_objects)", "{{kind}}"),
            )
        )
        .with_panel(
            graph(
                "Memory",
                "bytes",
                "Of the operator's process.",
                (
                    "process_resident_memory_bytes and on (instance, job) zo_operator_active",
                    "{{namespace}}/{{pod}}",
                ),
            )
        )
    )
