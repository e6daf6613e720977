"""The human labels of the pool: no loop reads them, and only the control full learns them."""

from ser_core.api.spec.loop import Control, LoopSpec
from ser_core.errors import SpecError


def refuse_full_without_labels(loop: LoopSpec, *, hidden_labels: bool) -> None:
    """Say before anything is trained that the control full cannot be.

    Args:
        loop: The run's.
        hidden_labels: Whether the data have labels of the pool.

    Raises:
        SpecError: The control is wanted, and there are none (reason `NoHiddenLabels`).
    """
    if Control.FULL in loop.controls and not hidden_labels:
        raise no_hidden_labels()


def no_hidden_labels() -> SpecError:
    """What is wrong then."""
    return SpecError(
        "loop.controls has full, which needs the human labels of the pool, and there are none",
        reason="NoHiddenLabels",
        hint="leave full out of loop.controls; or give data.source, or a data.unlabeled with labels",
    )
