"""What the dashboards are made of: one house style for panels, variables and queries.

Several operator pods may tell of the same resource (a standby, or one that takes over), so every query of a
`zo_resource_` metric takes `max by` what names the series.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import common, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TAG = "zofinetune"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT, STAT_HEIGHT = 8, 4
GOOD, BAD, PLAIN = "green", "red", "text"


def board(name: str, title: str, description: str) -> Dashboard:
    """An empty dashboard with the choice of a data source and links to the others."""
    link = (
        DashboardLink("zofinetune").type(DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True).icon("dashboard")
    )
    return (
        Dashboard(f"ZOFineTune / {title}")
        .uid(f"zofinetune-{name}")
        .description(description)
        .tags([TAG])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .readonly()
        .annotations([])
        .link(link.keep_time(True).include_vars(True))
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )


def choice(name: str, label: str, query: str, *, several: bool = False) -> QueryVariable:
    """A variable with the values of a label: `label_values(metric, label)`."""
    made = (
        QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": "StandardVariableQuery"})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    if not several:
        return made
    return made.multi(True).include_all(True).all_value(".*").current(VariableOption(text="All", value="$__all"))


def query(
    expr: str, legend: str = "__auto", *, ref: str = "A", instant: bool = False, table: bool = False
) -> Dataquery:
    """One query; `instant` asks for the present value alone."""
    made = Dataquery().ref_id(ref).datasource(SOURCE).expr(expr).legend_format(legend)
    made = made.instant() if instant else made.range()
    return made.format(PromQueryFormat.TABLE) if table else made


def steps(*points: tuple[float | None, str]) -> ThresholdsConfig:
    """Colours from values on; the first one is of everything below."""
    found = [Threshold(value=value, color=color) for value, color in points]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def number(
    title: str, expr: str, unit: str, description: str, *, bad_from: float | None = None, width: int = 4
) -> stat.Panel:
    """One large number; red from `bad_from` on."""
    colours = [(None, PLAIN)] if bad_from is None else [(None, GOOD), (bad_from, BAD)]
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .no_value("-")
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .thresholds(steps(*colours))
        .height(STAT_HEIGHT)
        .span(width)
        .with_target(query(expr, instant=True))
    )


def word(title: str, expr: str, label: str, description: str, *, width: int = 4) -> stat.Panel:
    """The label of the one series that the expression gives, in large letters."""
    panel = number(title, expr, "none", description, width=width)
    return panel.targets([query(expr, f"{{{{{label}}}}}", instant=True)]).text_mode(stat.common.BigValueTextMode.NAME)


def graph(title: str, unit: str, description: str, *queries: tuple[str, str], width: int = 8) -> timeseries.Panel:
    """Lines over time, one query after another, each an expression with its legend."""
    made = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .line_width(1)
        .fill_opacity(8)
        .show_points(VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .height(HEIGHT)
        .span(width)
    )
    for number_, (expr, legend) in enumerate(queries):
        made = made.with_target(query(expr, legend, ref=chr(ord("A") + number_)))
    return made


def timeline(title: str, description: str, expr: str, legend: str, *, width: int = 8) -> statetimeline.Panel:
    """When each series was there, or which value it had."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .merge_values(True)
        .show_value(VisibilityMode.AUTO)
        .row_height(0.8)
        .fill_opacity(70)
        .line_width(0)
        .height(HEIGHT)
        .span(width)
        .with_target(query(expr, legend))
    )
