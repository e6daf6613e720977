"""Panels of a few kinds. Each has a unit and a description; queries are named A, B, C in their order."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import barchart, common, prometheus, stat, statetimeline, table, timeseries, trend
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
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards import fields
from dashboards.queries import Query
from dashboards.tables import converted, joined, merged

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT, WIDTH = 8, 12
SHARE, COUNT, SECONDS, BYTES, PER_SECOND = "percentunit", "short", "s", "bytes", "ops"
NOTHING = "–"
COLUMN = 100  # pixels
Panel = barchart.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel | trend.Panel
_Graph = TypeVar("_Graph", timeseries.Panel, trend.Panel)


@dataclass(frozen=True, slots=True)
class Axis:
    """What the axis of values shows.

    Attributes:
        low: At least down to here; None: as the data.
        high: At least up to here.
        most: Never above.
    """

    low: float | None = 0
    high: float | None = None
    most: float | None = None


SHARES = Axis(high=1)
"""Else Grafana takes an axis of shares that are all 0 up to 10000 %."""
FEW = Axis(high=1)
"""Counts that are mostly 0: Grafana would take their axis up to 100."""
CLOSE = Axis(low=None, high=0, most=1)
"""Shares whose differences matter more than their size: as the data, where Grafana would go on to 200 % when all are alike."""


def number(title: str, description: str, unit: str, *queries: Query, alarm: float | None = None) -> stat.Panel:
    """The newest value in large.

    Args:
        title: Of the panel.
        description: What it shows.
        unit: Of the value.
        queries: Usually one; the values of several stand side by side with their names.
        alarm: From this value on it is shown in the colour of an alarm, below it in that of health; None: it is neither.
    """
    panel = stat.Panel().title(title).description(description).unit(unit).datasource(SOURCE).height(4).span(4)
    panel = panel.graph_mode(BigValueGraphMode.NONE).no_value(NOTHING)
    panel = panel.color_scheme(fields.fixed(queries[0].colour)) if alarm is None else fields.alarming(panel, alarm)
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_target(query, letter).instant())
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def word(title: str, description: str, label: str, expr: str) -> stat.Panel:
    """A label of the one series there is; without one a dash, which Grafana does not put in the place of a name."""
    none = f'label_replace(vector(0), "{label}", "{NOTHING}", "", "")'
    query = Query(f"{expr} or on () {none}", f"{{{{{label}}}}}")
    return number(title, description, "string", query).text_mode(BigValueTextMode.NAME)


def lines(title: str, description: str, unit: str, *queries: Query, axis: Axis | None = None) -> timeseries.Panel:
    """Values over time.

    Args:
        title: Of the panel.
        description: What it shows.
        unit: Of all values.
        queries: Each a line or several.
        axis: Of the values; else from 0, and of shares up to 1.
    """
    panel = timeseries.Panel().title(title).description(description).unit(unit).datasource(SOURCE).height(HEIGHT).span(WIDTH)
    panel = panel.legend(_legend()).tooltip(_tooltip())
    panel = _with_axis(panel.line_width(2).fill_opacity(0), axis or (SHARES if unit == SHARE else Axis()))
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_target(query, letter).range()).override_by_query(letter, fields.line(query))
        for name, colour in query.colours.items():
            panel = panel.override_by_name(name, [fields.colour(colour)])
    return panel


def states(title: str, description: str, *queries: Query) -> statetimeline.Panel:
    """Which states held when: a row a state, which is named at its left."""
    panel = statetimeline.Panel().title(title).description(description).unit("bool_yes_no").datasource(SOURCE).height(HEIGHT).span(WIDTH)
    panel = panel.legend(_legend().show_legend(False)).tooltip(_tooltip()).show_value(VisibilityMode.NEVER)
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_target(query, letter).range()).override_by_query(letter, [fields.colour(query.colour)])
    return panel


def by_iteration(
    title: str, description: str, unit: str, *queries: Query, axis: Axis | None = None, band: tuple[str, str] | None = None
) -> trend.Panel:
    """Values by the number of the loop.

    Args:
        title: Of the panel.
        description: What it shows.
        unit: Of all values.
        queries: Each with the one label ``iteration``.
        axis: Of the values; else of shares from 0 to 1, of others as the data.
        band: Names of two queries; the space between them is filled.
    """
    panel = trend.Panel().title(title).description(description).unit(unit).datasource(SOURCE).height(HEIGHT).span(WIDTH)
    panel = _with_axis(panel.legend(_legend()).tooltip(_tooltip()), axis or (SHARES if unit == SHARE else Axis(low=None)))
    panel = panel.x_field("iteration").line_width(2).fill_opacity(0).show_points(VisibilityMode.ALWAYS).point_size(6)
    panel = panel.transformations(joined(queries)).override_by_name("iteration", fields.loop_axis())
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_instant(query, letter)).override_by_name(query.name, fields.line(query))
    if band is not None:
        low, high = band
        panel = panel.override_by_name(low, fields.edge()).override_by_name(high, fields.edge(filled_down_to=low))
    return panel


def bars_by_iteration(title: str, description: str, unit: str, *queries: Query) -> barchart.Panel:
    """Parts of a whole by the number of the loop, one upon the other."""
    panel = barchart.Panel().title(title).description(description).unit(unit).datasource(SOURCE).height(HEIGHT).span(WIDTH)
    panel = panel.legend(_legend()).tooltip(_tooltip())
    panel = panel.x_field("iteration").stacking(StackingMode.NORMAL).show_value(VisibilityMode.AUTO).fill_opacity(80)
    panel = panel.transformations([*joined(queries), converted("iteration", "string")])  # bars stand above words
    panel = panel.override_by_name("iteration", [fields.option("unit", "string")])
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_instant(query, letter)).override_by_name(query.name, [fields.colour(query.colour)])
    return panel


def rows(
    title: str,
    description: str,
    *queries: Query,
    labels: Mapping[str, str],
    units: Mapping[str, str],
    hidden: Sequence[str] = (),
    widths: Mapping[str, int] | None = None,
    link: tuple[str, str] | None = None,
) -> table.Panel:
    """A table: the values of queries with the same labels side by side.

    Args:
        title: Of the panel.
        description: What it shows.
        queries: Each makes a column with its name.
        labels: The first columns in their order, by the labels that they show.
        units: Of columns; all others are plain numbers.
        hidden: Columns to leave out: those of which only a label matters.
        widths: Pixels of columns; the others share what is left.
        link: A column and where its cells lead to.
    """
    panel = table.Panel().title(title).description(description).unit(COUNT).datasource(SOURCE).height(10).span(24)
    panel = panel.no_value(NOTHING).min_width(COLUMN)
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_instant(query, letter))
    panel = panel.transformations(merged(queries, labels, hidden))
    for column, unit in units.items():
        rounded = [fields.option("decimals", 1)] if unit == SHARE else []
        panel = panel.override_by_name(column, [fields.option("unit", unit), *rounded])
    for column, width in (widths or {}).items():
        panel = panel.override_by_name(column, [fields.option("custom.width", width)])
    if link is not None:
        panel = panel.override_by_name(link[0], [fields.option("links", [{"title": "Open the run", "url": link[1]}])])
    return panel


def _with_axis(panel: _Graph, axis: Axis) -> _Graph:
    panel = panel if axis.low is None else panel.axis_soft_min(axis.low)
    panel = panel if axis.high is None else panel.axis_soft_max(axis.high)
    return panel if axis.most is None else panel.max(axis.most)


def _target(query: Query, letter: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.name).ref_id(letter).datasource(SOURCE)


def _instant(query: Query, letter: str) -> prometheus.Dataquery:
    return _target(query, letter).instant().format(PromQueryFormat.TABLE)


def _legend() -> common.VizLegendOptions:
    return common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).calcs([])


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
