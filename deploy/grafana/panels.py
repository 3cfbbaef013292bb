"""What all dashboards share: the look of a panel, the data source, and their order on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as prometheus_model

DATASOURCE = "sigap-prometheus"
"""Uid of the data source, as it is provisioned."""

TAG = "sigap"
WIDTH = 24
SOURCE = model.DataSourceRef(type_val="prometheus", uid=DATASOURCE)
GOOD, WARNING, BAD = "green", "orange", "red"

P = TypeVar("P", bargauge.Panel, stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel)

Queries = Mapping[str, str]
"""PromQL by the legend of its series, in which `{{label}}` stands for a label's value."""

Steps = Sequence[tuple[float, str]]
"""From which value on a panel has which colour; below all of them it is green."""

UP = {"0": ("down", BAD), "1": ("up", GOOD)}
ALARM = {"0": ("quiet", GOOD), "1": ("alarm", BAD)}


def graph(
    title: str,
    description: str,
    queries: Queries,
    *,
    unit: str,
    width: int = 12,
    steps: Steps = (),
    stacked: bool = False,
    least: float | None = 0,
    most: float | None = None,
) -> timeseries.Panel:
    """Lines over time, with their mean, greatest and last value below."""
    legend = common.VizLegendOptions().display_mode(common_model.LegendDisplayMode.TABLE)
    legend = legend.placement(common_model.LegendPlacement.BOTTOM).show_legend(True)
    panel = (
        timeseries.Panel()
        .legend(legend.calcs(["mean", "max", "lastNotNull"]).sort_by("Last *").sort_desc(True))
        .tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))
        .line_width(1)
        .fill_opacity(25 if stacked else 8)
        .show_points(common_model.VisibilityMode.NEVER)
        .span_nulls(60_000)
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
    if steps:
        style = common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds_style(style)
    if least is not None:
        panel = panel.min(least)
    if most is not None:
        panel = panel.max(most)
    return _common(panel, title, description, queries, unit, width, 8, steps, instant=False)


def number(
    title: str,
    description: str,
    query: str,
    *,
    unit: str = "short",
    width: int = 4,
    steps: Steps = (),
    legend: str = "",
    decimals: int | None = None,
    words: Mapping[str, tuple[str, str]] | None = None,
    height: int = 4,
) -> stat.Panel:
    """The value of now, large; of several series one beside the other."""
    panel = (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .graph_mode(common_model.BigValueGraphMode.NONE)
        .color_mode(common_model.BigValueColorMode.VALUE)
        .text_mode(common_model.BigValueTextMode.AUTO)
        .no_value("–")
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    if words:
        panel = panel.mappings([_mapping(words)])
    return _common(panel, title, description, {legend: query}, unit, width, height, steps, instant=True)


def bars(
    title: str, description: str, query: str, *, unit: str, legend: str, width: int = 12, steps: Steps = ()
) -> bargauge.Panel:
    """The values of now as bars, for comparing many series."""
    panel = (
        bargauge.Panel()
        .orientation(common_model.VizOrientation.HORIZONTAL)
        .display_mode(common_model.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .no_value("–")
        .min(0)
    )
    return _common(panel, title, description, {legend: query}, unit, width, 8, steps, instant=True)


def states(
    title: str, description: str, query: str, *, legend: str, words: Mapping[str, tuple[str, str]], width: int = 12
) -> statetimeline.Panel:
    """A band a series, coloured by its state."""
    panel = (
        statetimeline.Panel()
        .mappings([_mapping(words)])
        .merge_values(True)
        .show_value(common_model.VisibilityMode.NEVER)
        .row_height(0.8)
    )
    return _common(panel, title, description, {legend: query}, "short", width, 8, (), instant=False)


def rows(title: str, description: str, query: str, *, columns: Mapping[str, str], width: int = 24) -> table.Panel:
    """Labels of the series of now as a table; `columns` are the labels that are shown and their headings."""
    organized = model.DataTransformerConfig(
        id_val="organize",
        options={
            "indexByName": {name: at for at, name in enumerate(columns)},
            "renameByName": dict(columns),
            "includeByName": dict.fromkeys(columns, True),
        },
    )
    panel = table.Panel().with_transformation(organized)
    return _common(panel, title, description, {"": query}, "short", width, 8, (), instant=True, tabular=True)


class Page:
    """A dashboard whose panels follow each other from left to right.

    Args:
        uid: Its address in Grafana.
        title: What it is called.
        description: What it tells.
    """

    def __init__(self, uid: str, title: str, description: str) -> None:
        others = dashboard.DashboardLink("Sigap").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
        self._builder = (
            dashboard.Dashboard(title)
            .uid(uid)
            .description(description)
            .tags([TAG])
            .timezone("browser")
            .time("now-1h", "now")
            .refresh("10s")
            .tooltip(model.DashboardCursorSync.CROSSHAIR)
            .link(others.as_dropdown(False).keep_time(True).include_vars(True))
        )
        self._panels = 0

    def variable(self, name: str, label: str, metric: str) -> Page:
        """A choice among the values that a label has; all at first."""
        every = model.VariableOption(selected=True, text="All", value="$__all")
        choice = (
            dashboard.QueryVariable(name)
            .label(label)
            .datasource(SOURCE)
            .query({"query": f"label_values({metric}, {name})", "refId": name})
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(every)
        )
        self._builder = self._builder.with_variable(choice)
        return self

    def annotation(self, name: str, query: str, colour: str) -> Page:
        """Marks on all graphs where `query` has a value."""
        mark = dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).expr(query).icon_color(colour)
        self._builder = self._builder.annotation(mark)
        return self

    def row(self, title: str, *panels: Any) -> Page:
        """A heading, and the panels below it."""
        self._panels += 1
        self._builder = self._builder.with_row(dashboard.Row(title).id(self._panels))
        for panel in panels:
            self._panels += 1
            self._builder = self._builder.with_panel(panel.id(self._panels))
        return self

    def build(self) -> model.Dashboard:
        """The dashboard."""
        return self._builder.build()


def _common(
    panel: P,
    title: str,
    description: str,
    queries: Queries,
    unit: str,
    width: int,
    height: int,
    steps: Steps,
    *,
    instant: bool,
    tabular: bool = False,
) -> P:
    panel = panel.title(title).description(description).datasource(SOURCE).unit(unit).span(width).height(height)
    marks = [model.Threshold(value=None, color=GOOD), *(model.Threshold(value=at, color=to) for at, to in steps)]
    thresholds = dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(marks)
    panel = panel.thresholds(thresholds)
    for letter, (legend, query) in zip("ABCDEFGH", queries.items(), strict=False):
        target = prometheus.Dataquery().ref_id(letter).datasource(SOURCE).expr(query).legend_format(legend or title)
        target = target.instant() if instant else target.range()
        if tabular:
            target = target.format(prometheus_model.PromQueryFormat.TABLE)
        panel = panel.with_target(target)
    return panel


def _mapping(words: Mapping[str, tuple[str, str]]) -> model.ValueMap:
    return model.ValueMap(
        {value: model.ValueMappingResult(text=text, color=colour) for value, (text, colour) in words.items()}
    )
