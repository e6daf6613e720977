"""Which conditions hold in which phase: the table of docs/operations.md, asserted after every look of every test."""

from controlplane.plane.api_client import Object
from ser_core.loop.recording.conditions import TYPES

TRUE_CONDITIONS = {
    "Pending": ({"Reconciling"},),
    "Running": ({"Reconciling"}, {"Stalled"}),
    "Suspended": ({"Suspended"},),
    "BudgetExceeded": ({"Stalled"},),
    "Completed": ({"Ready", "Completed"},),
    "Failed": ({"Stalled", "Failed"},),
}


def check_conditions(status: Object) -> None:
    """Fail unless a status has all conditions, and those that its phase allows."""
    true = {one["type"] for one in status["conditions"] if one["status"] == "True"}
    assert [one["type"] for one in status["conditions"]] == list(TYPES)
    assert true in TRUE_CONDITIONS[status["phase"]], (status["phase"], true)
