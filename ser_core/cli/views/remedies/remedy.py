"""What is said of some reasons.

In the texts ``{resources}`` is the stage's field of spec.resources, ``{tokens}`` the tokens that a batch has on a CPU.
The run's own message is printed too and names file, field and value.
"""

from dataclasses import dataclass
from enum import StrEnum


class Then(StrEnum):
    """What makes a failed run go on once its fix is done."""

    ITSELF = "nothing: the run sees it"
    CHANGE = "nothing: the run sees the changed field, and without a change it only fails again"
    RETRY = "ser retry"
    ANEW = "another run, since a started one keeps this"


@dataclass(frozen=True, slots=True)
class Remedy:
    """Cause and fix of some reasons. Each fix has a story that does it (tests/unit/cli/views/test_remedies.py)."""

    reasons: tuple[str, ...]
    cause: str
    fix: str
    then: Then = Then.RETRY
    here: str = ""
    """The fix of a run of this machine, where it is another."""
    without_batches: str = ""
    """The fix of a stage to which training.tokensPerBatch is nothing, where it is another."""
