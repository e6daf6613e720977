"""The conditions of a run, in the manner of kstatus: tools that know no SERRun can still wait for it.

A table says what each phase means; a condition's transition time moves only when its status does.
"""

from typing import Literal

from ser_core.api.status import Condition, Phase, SERRunStatus, Time

Type = Literal["Ready", "Reconciling", "Stalled", "Completed", "Failed", "Suspended"]

TYPES: tuple[Type, ...] = ("Ready", "Reconciling", "Stalled", "Completed", "Failed", "Suspended")

TRUE_IN: dict[Phase, frozenset[Type]] = {
    Phase.PENDING: frozenset({"Reconciling"}),
    Phase.RUNNING: frozenset({"Reconciling"}),
    Phase.QUEUED: frozenset({"Reconciling"}),
    Phase.WAITING: frozenset({"Reconciling"}),
    Phase.SUSPENDED: frozenset({"Suspended"}),
    Phase.BUDGET_EXCEEDED: frozenset({"Stalled"}),
    Phase.COMPLETED: frozenset({"Ready", "Completed"}),
    Phase.FAILED: frozenset({"Stalled", "Failed"}),
}
"""The conditions that hold in a phase; the others are False."""
TRUE_WHILE_STALLED: frozenset[Type] = frozenset({"Stalled"})
"""The same for a run that has not ended but needs a person, or has waited so long that a person should look."""


def conditions(
    before: tuple[Condition, ...], phase: Phase, reason: str, message: str, generation: int, now: Time, *, stalled: bool = False
) -> tuple[Condition, ...]:
    """All six conditions in ``phase``. Only `Ready` and those that hold carry the message. Conditions of others stay as they are."""
    old = {condition.type: condition for condition in before}
    true = TRUE_WHILE_STALLED if stalled else TRUE_IN[phase]
    ours = tuple(_condition(kind, old.get(kind), kind in true, reason, message, generation, now) for kind in TYPES)
    return (*ours, *(condition for condition in before if condition.type not in TYPES))


def _condition(kind: Type, old: Condition | None, holds: bool, reason: str, message: str, generation: int, now: Time) -> Condition:
    status: Literal["True", "False"] = "True" if holds else "False"
    return (old or Condition(type=kind, status=status, reason=reason)).model_copy(
        update={
            "status": status,
            "reason": reason,
            "message": message if holds or kind == "Ready" else "",
            "observed_generation": generation,
            "last_transition_time": old.last_transition_time if old is not None and old.status == status else now,
        }
    )


def seen_generation(status: SERRunStatus, generation: int) -> SERRunStatus:
    """``status`` of an ended run, which only notes that the newest spec has been read, and its message."""
    noted = tuple(
        condition.model_copy(update={"observed_generation": generation, "message": status.message if condition.message else ""})
        for condition in status.conditions
    )
    return status.model_copy(update={"observed_generation": generation, "conditions": noted})
