"""What the boards have in common: names, variables, links to each other."""

import itertools
from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.panels import SOURCE, Panel

Row = tuple[str, Sequence[Panel]]
"""A title and the panels below it."""


def board(
    uid: str, title: str, question: str, rows: Sequence[Row], variables: Sequence[dashboard.QueryVariable] = ()
) -> dashboard.Dashboard:
    """A board that answers one question, general things first."""
    made = dashboard.Dashboard(title).uid(uid).description(question).tags(["ser"]).refresh("30s").time("now-6h", "now")
    made = made.readonly().tooltip(DashboardCursorSync.CROSSHAIR).with_variable(_source())
    made = made.link(
        dashboard.DashboardLink("SER")
        .type(DashboardLinkType.DASHBOARDS)
        .tags(["ser"])
        .as_dropdown(False)
        .include_vars(True)
        .keep_time(True)
    )
    for variable in variables:
        made = made.with_variable(variable)
    numbers = itertools.count(1)
    for name, panels in rows:
        made = made.with_row(dashboard.Row(name).id(next(numbers)))
        for panel in panels:
            made = made.with_panel(panel.id(next(numbers)))
    return made


def choice(name: str, query: str) -> dashboard.QueryVariable:
    """A variable with the values of a label, newest first asked for when the time range changes."""
    variable = dashboard.QueryVariable(name).query({"query": query, "refId": name}).datasource(SOURCE)
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)


def _source() -> dashboard.DatasourceVariable:
    return (
        dashboard.DatasourceVariable("datasource")
        .label("Prometheus")
        .type("prometheus")
        .current(VariableOption(text="default", value="default"))
    )
