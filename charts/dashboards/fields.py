"""Options of fields: colours, lines, the axis of loops."""

from grafana_foundation_sdk.builders import dashboard, stat
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, FieldColorModeId, Threshold, ThresholdsMode

from dashboards.colours import GREEN, VERMILION
from dashboards.queries import Query
from ser_core.api.spec.loop import MAX_ITERATIONS


def option(name: str, value: object) -> DynamicConfigValue:
    """An option by Grafana's name for it."""
    return DynamicConfigValue(id_val=name, value=value)


def colour(value: str) -> DynamicConfigValue:
    """One colour, whatever the value."""
    return option("color", {"mode": "fixed", "fixedColor": value})


def fixed(value: str) -> dashboard.FieldColor:
    """The same for all fields of a panel."""
    return dashboard.FieldColor().mode(FieldColorModeId.FIXED).fixed_color(value)


def alarming(panel: stat.Panel, alarm: float) -> stat.Panel:
    """Numbers below ``alarm`` in the colour of health, others in that of an alarm."""
    steps = [Threshold(value=None, color=GREEN), Threshold(value=alarm, color=VERMILION)]
    panel = panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    return panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))


def line(query: Query) -> list[DynamicConfigValue]:
    """How the lines of a query look. Several take Grafana's palette by their names: a stage has one colour on the whole board."""
    style = [option("custom.lineStyle", {"fill": "dash", "dash": [8, 6]})] if query.dashed else []
    side = [option("custom.axisPlacement", "right")] if query.right else []
    return [option("color", {"mode": "palette-classic-by-name"}) if query.has_many else colour(query.colour), *style, *side]


def edge(filled_down_to: str | None = None) -> list[DynamicConfigValue]:
    """A line that is not drawn, but bounds an area."""
    hidden = [option("custom.lineWidth", 0), option("custom.showPoints", "never")]
    if filled_down_to is None:
        return hidden
    return [*hidden, option("custom.fillBelowTo", filled_down_to), option("custom.fillOpacity", 20)]


def loop_axis() -> list[DynamicConfigValue]:
    """Loops are whole numbers without the unit of the values: what Grafana marks between two of them gets no text."""
    whole = {str(number): {"index": number, "text": str(number)} for number in range(MAX_ITERATIONS + 1)}
    between = {"from": None, "to": None, "result": {"index": MAX_ITERATIONS + 1, "text": ""}}
    return [
        option("unit", "none"),
        option("decimals", 0),
        option("max", None),  # the panel's is that of the values
        option("mappings", [{"type": "value", "options": whole}, {"type": "range", "options": between}]),
        option("custom.axisLabel", "loop"),
        option("custom.axisGridShow", False),
    ]
