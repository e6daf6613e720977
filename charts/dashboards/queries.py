"""A query of a panel, and the selectors that the boards share."""

from dataclasses import dataclass

from dashboards.colours import SKY

RUN = 'namespace="$namespace", run="$run"'
RATE = "[$__rate_interval]"


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel asks for.

    Attributes:
        expr: PromQL.
        name: Of its series, with labels in double braces, or of its column.
        colour: Of its line; several series of one query get shades of it.
        dashed: Whether the line is dashed, for what is compared with.
    """

    expr: str
    name: str
    colour: str = SKY
    dashed: bool = False


def of_run(metric: str, by: str, more: str = "") -> str:
    """A metric of the chosen run by some of its labels."""
    return f"max by ({by}) ({metric}{{{RUN}{f', {more}' if more else ''}}})"
