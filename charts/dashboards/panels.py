"""Panels of a few kinds. Each has a unit and a description; queries are named A, B, C in their order."""

import string
from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import barchart, common, dashboard, prometheus, stat, statetimeline, table, timeseries, trend
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    BigValueTextMode,
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue, FieldColorModeId
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.colours import SKY
from dashboards.queries import Query

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT, WIDTH = 8, 12
SHARE, COUNT, SECONDS, BYTES, PER_SECOND = "percentunit", "short", "s", "bytes", "ops"
Panel = barchart.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel | trend.Panel


def number(title: str, description: str, unit: str, query: Query) -> stat.Panel:
    """The newest value in large."""
    panel = stat.Panel().title(title).description(description).unit(unit).datasource(SOURCE).height(4).span(4)
    panel = panel.graph_mode(BigValueGraphMode.NONE).color_scheme(_fixed(query.colour)).no_value("none")
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).with_target(_instant(query, "A"))


def word(title: str, description: str, query: Query) -> stat.Panel:
    """The label of the one series there is."""
    return number(title, description, "string", query).text_mode(BigValueTextMode.NAME)


def lines(title: str, description: str, unit: str, *queries: Query) -> timeseries.Panel:
    """Values over time."""
    panel = timeseries.Panel().title(title).description(description).unit(unit).datasource(SOURCE).height(HEIGHT).span(WIDTH)
    panel = panel.legend(_legend()).tooltip(_tooltip())
    panel = panel.line_width(2).fill_opacity(0).axis_soft_min(0)
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_target(query, letter).range()).override_by_query(letter, _line(query))
    return panel


def states(title: str, description: str, *queries: Query) -> statetimeline.Panel:
    """Which states held when: a row a state."""
    panel = statetimeline.Panel().title(title).description(description).unit("bool_yes_no").datasource(SOURCE).height(HEIGHT).span(WIDTH)
    panel = panel.legend(_legend()).tooltip(_tooltip())
    panel = panel.show_value(VisibilityMode.NEVER).color_scheme(_fixed(SKY))
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_target(query, letter).range()).override_by_query(letter, _line(query))
    return panel


def by_iteration(title: str, description: str, unit: str, *queries: Query, band: tuple[str, str] | None = None) -> trend.Panel:
    """Values by the number of the loop.

    Args:
        title: Of the panel.
        description: What it shows.
        unit: Of all values.
        queries: Each with the one label ``iteration``.
        band: Names of two queries; the space between them is filled.
    """
    panel = trend.Panel().title(title).description(description).unit(unit).datasource(SOURCE).height(HEIGHT).span(WIDTH)
    panel = panel.legend(_legend()).tooltip(_tooltip())
    panel = panel.x_field("iteration").line_width(2).fill_opacity(0).show_points(VisibilityMode.ALWAYS).point_size(6)
    panel = panel.transformations(_joined(queries))
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_instant(query, letter)).override_by_name(query.name, _line(query))
    if band is not None:
        low, high = band
        hidden = [_set("custom.lineWidth", 0), _set("custom.showPoints", "never")]
        panel = panel.override_by_name(low, hidden)
        panel = panel.override_by_name(high, [*hidden, _set("custom.fillBelowTo", low), _set("custom.fillOpacity", 20)])
    return panel


def bars_by_iteration(title: str, description: str, unit: str, *queries: Query) -> barchart.Panel:
    """Parts of a whole by the number of the loop, one upon the other."""
    panel = barchart.Panel().title(title).description(description).unit(unit).datasource(SOURCE).height(HEIGHT).span(WIDTH)
    panel = panel.legend(_legend()).tooltip(_tooltip())
    panel = panel.x_field("iteration").stacking(StackingMode.NORMAL).show_value(VisibilityMode.AUTO).fill_opacity(80)
    panel = panel.transformations([*_joined(queries), _converted("string")])  # bars stand above words
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_instant(query, letter)).override_by_name(query.name, [_colour(query)])
    return panel


def rows(
    title: str, description: str, *queries: Query, units: Mapping[str, str], hidden: Sequence[str] = (), link: tuple[str, str] | None = None
) -> table.Panel:
    """A table: the values of queries with the same labels side by side.

    Args:
        title: Of the panel.
        description: What it shows.
        queries: Each makes a column with its name.
        units: Of columns; all others are plain numbers.
        hidden: Columns to leave out: those of which only a label matters.
        link: A column and where its cells lead to.
    """
    panel = table.Panel().title(title).description(description).unit(COUNT).datasource(SOURCE).height(10).span(24)
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_instant(query, letter))
    excluded = dict.fromkeys(["Time", *hidden], True)
    names = _names(queries)
    panel = panel.transformations(
        [
            DataTransformerConfig(id_val="merge", options={}),
            DataTransformerConfig(id_val="organize", options={"renameByName": names, "excludeByName": {}}),
            DataTransformerConfig(id_val="organize", options={"excludeByName": excluded, "renameByName": {}}),
        ]
    )
    for column, unit in units.items():
        panel = panel.override_by_name(column, [_set("unit", unit)])
    if link is not None:
        panel = panel.override_by_name(link[0], [_set("links", [{"title": "Open the run", "url": link[1]}])])
    return panel


def _joined(queries: Sequence[Query]) -> list[DataTransformerConfig]:
    """One row a loop, in the order of their numbers, which as labels are text."""
    return [
        DataTransformerConfig(id_val="joinByField", options={"byField": "iteration", "mode": "outer"}),
        _converted("number"),
        DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": "iteration"}], "fields": {}}),
        DataTransformerConfig(
            id_val="organize",
            options={
                "renameByName": _names(queries),
                "excludeByName": {name: True for number in range(len(queries) + 1) for name in (f"Time {number}", "Time")},
            },
        ),
    ]


def _converted(kind: str) -> DataTransformerConfig:
    return DataTransformerConfig(
        id_val="convertFieldType", options={"conversions": [{"targetField": "iteration", "destinationType": kind}], "fields": {}}
    )


def _names(queries: Sequence[Query]) -> dict[str, str]:
    """Grafana calls the value of a table ``Value #A``, or ``Value`` when there is but one."""
    named = {f"Value #{letter}": query.name for letter, query in zip(string.ascii_uppercase, queries, strict=False)}
    return named | ({"Value": queries[0].name} if len(queries) == 1 else {})


def _target(query: Query, letter: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.name).ref_id(letter).datasource(SOURCE)


def _instant(query: Query, letter: str) -> prometheus.Dataquery:
    target = _target(query, letter).instant()
    return target if "{{" in query.name else target.format(PromQueryFormat.TABLE)


def _legend() -> common.VizLegendOptions:
    return common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).calcs([])


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)


def _line(query: Query) -> list[DynamicConfigValue]:
    style = [_set("custom.lineStyle", {"fill": "dash", "dash": [8, 6]})] if query.dashed else []
    return [_colour(query), *style]


def _colour(query: Query) -> DynamicConfigValue:
    return _set("color", {"mode": "shades" if "{{" in query.name else "fixed", "fixedColor": query.colour})


def _fixed(colour: str) -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(FieldColorModeId.FIXED).fixed_color(colour)


def _set(name: str, value: object) -> DynamicConfigValue:
    return DynamicConfigValue(id_val=name, value=value)
