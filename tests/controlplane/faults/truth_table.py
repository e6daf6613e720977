"""Which conditions hold in which phase: the table of docs/operations.md, asserted after every look of every test."""

from controlplane.plane.api_client import Object
from ser_core.loop.recording.conditions import TYPES

TRUE_CONDITIONS = {
    "Pending": ({"Reconciling"},),
    "Running": ({"Reconciling"},),
    "Queued": ({"Reconciling"}, {"Stalled"}),
    "Waiting": ({"Reconciling"}, {"Stalled"}),
    "Suspended": ({"Suspended"},),
    "BudgetExceeded": ({"Stalled"},),
    "Completed": ({"Ready", "Completed"},),
    "Failed": ({"Stalled", "Failed"},),
}


def check_conditions(status: Object) -> None:
    """Fail unless a status has all conditions, and those that its phase allows. Conditions of others may follow, and a phase of another
    version allows what it likes."""
    ours = [one for one in status["conditions"] if one["type"] in TYPES]
    assert [one["type"] for one in ours] == list(TYPES)
    true = {one["type"] for one in ours if one["status"] == "True"}
    assert true in TRUE_CONDITIONS.get(status["phase"], (true,)), (status["phase"], true)
