"""What all dashboards share: variables, panels of each kind, and the look.

Rules of the house: a panel has a description and a unit, queries name no fixed data source (the variable
``datasource``), rates use ``$__rate_interval``, and the metrics are those of /metrics itself, so that the
dashboards work where no recording rule is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, statetimeline
from grafana_foundation_sdk.builders import table as table_builder
from grafana_foundation_sdk.builders import timeseries as timeseries_builder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE: Final = common_model.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH: Final = 24  # of a row of the grid
JOB: Final = 'job=~"$job"'
SEVERITY_COLORS: Final = {"info": "blue", "warning": "orange", "critical": "red"}
SEVERITY_VALUES: Final = {"info": 1, "warning": 2, "critical": 3}
Query = tuple[str, str]  # PromQL and legend
Step = tuple[float | None, str]  # from this value on: a colour


# --- the dashboard itself -----------------------------------------------------------------------------------


def new(uid: str, title: str, description: str) -> dashboard.Dashboard:
    """An empty dashboard with the variables ``datasource`` and ``job``, linked to its siblings."""
    siblings = dashboard.DashboardLink("Driftline").type(model.DashboardLinkType.DASHBOARDS)
    siblings = siblings.tags(["driftline"]).as_dropdown(True).keep_time(True).include_vars(True)
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["driftline"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(siblings)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(label_variable("job", "Job", "driftline_build_info", "job"))
    )


def label_variable(name: str, title: str, series: str, label: str, *, multi: bool = True) -> Any:
    """A variable with the values of a label; with ``multi`` several can be chosen, and all are at first."""
    variable = (
        dashboard.QueryVariable(name)
        .label(title)
        .datasource(DATASOURCE)
        .query(f"label_values({series}, {label})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )
    if multi:
        everything = model.VariableOption(text="All", value="$__all")
        variable = variable.multi(True).include_all(True).all_value(".*").current(everything)
    return variable


def alert_annotations(expression: str, title: str) -> Any:
    """Open alerts as regions on every graph of a dashboard."""
    return (
        dashboard.AnnotationQuery()
        .name("Alerts")
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color("red")
        .expr(expression)
        .step("60s")
        .title_format(title)
        .tag_keys("severity")
    )


def row(title: str) -> Any:
    """A heading; the panels after it belong to it."""
    return dashboard.Row(title)


def fill(board: dashboard.Dashboard, *groups: Sequence[Any]) -> dashboard.Dashboard:
    """Rows and panels in their order, from left to right and top to bottom."""
    for panel in (panel for group in groups for panel in group):
        board = board.with_row(panel) if isinstance(panel, dashboard.Row) else board.with_panel(panel)
    return board


# --- panels -------------------------------------------------------------------------------------------------


def graph(
    title: str, description: str, unit: str, *queries: Query, span: int = 12, stacked: bool = False
) -> Any:
    """Lines over time."""
    panel = (
        _with_queries(timeseries_builder.Panel(), title, description, unit, queries, span=span, height=8)
        .fill_opacity(10)
        .show_points(common_model.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_model.LegendDisplayMode.LIST)
            .placement(common_model.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_model.TooltipDisplayMode.MULTI)
            .sort(common_model.SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
    return panel


def number(
    title: str, description: str, unit: str, query: Query, *, steps: Sequence[Step] = (), span: int = 6
) -> Any:
    """The present value, or one for each series."""
    panel = _with_queries(stat.Panel(), title, description, unit, [query], span=span, height=4, instant=True)
    panel = panel.graph_mode(common_model.BigValueGraphMode.NONE).reduce_options(_last())
    panel = panel.color_mode(common_model.BigValueColorMode.VALUE)
    return panel.thresholds(thresholds(steps))


def label(title: str, description: str, query: Query, *, span: int = 6) -> Any:
    """The name of the series that is there, such as a state."""
    return number(title, description, "none", query, span=span).text_mode(common_model.BigValueTextMode.NAME)


def ranking(
    title: str, description: str, unit: str, query: Query, *, steps: Sequence[Step] = (), span: int = 12
) -> Any:
    """Bars, the largest first."""
    panel = _with_queries(
        bargauge.Panel(), title, description, unit, [query], span=span, height=8, instant=True
    )
    panel = panel.orientation(common_model.VizOrientation.HORIZONTAL).reduce_options(_last())
    panel = panel.display_mode(common_model.BarGaugeDisplayMode.BASIC).min(0)
    return panel.thresholds(thresholds(steps))


def table(
    title: str, description: str, unit: str, query: str, *, value: str, link: str = "", span: int = 12
) -> Any:
    """Labels as columns, the value last under the name ``value``; ``link`` is the URL behind each row."""
    panel = _with_queries(
        table_builder.Panel(), title, description, unit, [(query, "")], span=span, height=8, instant=True
    )
    organize = {"excludeByName": {"Time": True}, "renameByName": {"Value": value}}
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=organize))
    if link:
        panel = panel.data_links([dashboard.DashboardLink("Show the model").url(link)])
    return panel


def timeline(
    title: str, description: str, query: Query, values: dict[str, float], *, span: int = WIDTH
) -> Any:
    """Bands over time, named and coloured by value."""
    results = {
        str(number): model.ValueMappingResult(text=name, color=SEVERITY_COLORS[name], index=index)
        for index, (name, number) in enumerate(values.items())
    }
    panel = _with_queries(statetimeline.Panel(), title, description, "none", [query], span=span, height=8)
    panel = panel.mappings([model.ValueMap(options=results)]).merge_values(True)
    return panel.show_value(common_model.VisibilityMode.NEVER)


def thresholds(steps: Sequence[Step]) -> Any:
    """Colours by value; none given: always the text colour."""
    chosen = steps or ((None, "text"),)
    return (
        dashboard.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=color) for value, color in chosen])
    )


def _last() -> Any:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _with_queries(
    panel: Any,
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    span: int,
    height: int,
    instant: bool = False,
) -> Any:
    """Name, explain and size a panel, and give it its queries."""
    panel = panel.title(title).description(description).unit(unit).datasource(DATASOURCE)
    for index, (expression, legend) in enumerate(queries):
        query = prometheus.Dataquery().expr(expression).ref_id(chr(ord("A") + index)).datasource(DATASOURCE)
        query = query.instant() if instant else query.range()
        if isinstance(panel, table_builder.Panel):
            query = query.format(PromQueryFormat.TABLE)
        panel = panel.with_target(query.legend_format(legend or "__auto"))
    return panel.span(span).height(height)
