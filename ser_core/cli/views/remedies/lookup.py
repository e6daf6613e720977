"""The remedy of a reason, out of all that a run's status can hold. A test compares the list with the code."""

from ser_core.cli.views.remedies.cluster import CLUSTER
from ser_core.cli.views.remedies.data import DATA
from ser_core.cli.views.remedies.machine import MACHINE
from ser_core.cli.views.remedies.remedy import Remedy, Then
from ser_core.cli.views.remedies.run import RUN
from ser_core.cli.views.remedies.spec import SPEC
from ser_core.cli.views.remedies.store import STORE

REMEDIES = (*RUN, *CLUSTER, *MACHINE, *STORE, *SPEC, *DATA)

REMEDY_OF = {reason: remedy for remedy in REMEDIES for reason in remedy.reasons}

BY_EXIT_CODE = {
    10: Remedy((), "the SERRun is wrong", "correct what the message names", Then.ANEW),
    11: Remedy((), "the data are wrong", "correct what the message names"),
    12: Remedy((), "a result did not pass its check", "look at the stage's log: ser logs"),
    20: REMEDY_OF["StoreUnavailable"],
    24: REMEDY_OF["NodeDiskFull"],
    21: REMEDY_OF["OutOfMemory"],
    22: REMEDY_OF["StageHung"],
    23: REMEDY_OF["RendezvousTimeout"],
    137: REMEDY_OF["Killed"],
}
DEFECT = Remedy(
    (), "the stage's process ended in an unexpected way", "look at its log: ser logs; a traceback there is a defect worth reporting"
)
UNKNOWN = REMEDY_OF["Waiting"]


def remedy_of(reason: str, exit_code: int | None = None) -> Remedy:
    """Cause and fix of a reason. An unknown reason is explained by the exit code; without one the stage waits for the cluster."""
    known = REMEDY_OF.get(reason)
    if known is not None:
        return known
    return UNKNOWN if exit_code is None else BY_EXIT_CODE.get(exit_code, DEFECT)
