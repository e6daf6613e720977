"""What of a spec may change after the run has started. The CRD says the same in CEL."""

from collections.abc import Mapping
from typing import Any

from ser_core.api.model import Model
from ser_core.api.serrun import SERRunSpec
from ser_core.api.status import SERRunStatus, StageKind
from ser_core.errors import SpecError

MUTABLE = frozenset({"suspend", "resources", "podTemplate", "retries", "budget", "activeDeadline", "ttlAfterFinished", "reopen"})
"""Fields that may change, `reopen` only upwards. Of others, loop.maxIterations may rise and training.tokensPerBatch may fall."""


EARLIER_STOPPING = {"patience": 1, "rollback": "best"}
EARLIER_THRESHOLDS = {"target_precision": 0.9}
"""What version 0.1.0 wrote into every run that left these fields of `loop.stopping` and `loop.thresholds` out."""


def with_earlier_defaults(stored: SERRunSpec, wanted: SERRunSpec) -> SERRunSpec:
    """``wanted`` with the defaults of version 0.1.0 that stand in ``stored``, where it leaves them out: a run ends as it began."""
    parts = {
        "stopping": _kept(stored.loop.stopping, wanted.loop.stopping, EARLIER_STOPPING),
        "thresholds": _kept(stored.loop.thresholds, wanted.loop.thresholds, EARLIER_THRESHOLDS),
    }
    return wanted.model_copy(update={"loop": wanted.loop.model_copy(update=parts)})


def _kept(stored: Model, wanted: Model, earlier: Mapping[str, Any]) -> Model:
    kept = {field: value for field, value in earlier.items() if getattr(wanted, field) is None and getattr(stored, field) == value}
    return wanted.model_copy(update=kept)


def iterations_are_final(status: SERRunStatus) -> bool:
    """Whether maxIterations may no longer be raised: the policy stage has begun."""
    return status.policy is not None or status.stage in (StageKind.SFT, StageKind.PPO)


def refuse_changes(old: SERRunSpec, new: SERRunSpec, status: SERRunStatus) -> None:
    """Accept ``new`` as a change of ``old``, or say which fields may not change.

    Args:
        old: The spec that the run started with.
        new: The spec that is wanted now.
        status: Of the run.

    Raises:
        SpecError: Immutable fields differ (reason `ImmutableField`); each is named with both values.
    """
    changes = forbidden_changes(old, new, status)
    if changes:
        raise SpecError(
            "; ".join(changes),
            reason="ImmutableField",
            hint="a started run keeps its spec: use another metadata.name, or ser purge and start again",
        )


def forbidden_changes(old: SERRunSpec, new: SERRunSpec, status: SERRunStatus) -> list[str]:
    """One sentence for each field that `refuse_changes` refuses, with both values."""
    before, after = (spec.model_dump(mode="json", by_alias=True) for spec in (old, new))
    raised = new.loop.max_iterations > old.loop.max_iterations
    if raised:
        after["loop"]["maxIterations"] = before["loop"]["maxIterations"]
    if new.training.tokens_per_batch < old.training.tokens_per_batch:
        after["training"]["tokensPerBatch"] = before["training"]["tokensPerBatch"]
    if new.suspend:
        after["queueName"] = before["queueName"]  # no Job waits in the old queue then
    fixed = [name for name in before if name not in MUTABLE or (name == "reopen" and new.reopen < old.reopen)]
    changes = [text for name in fixed for text in _differences(f"spec.{name}", before[name], after[name])]
    if raised and iterations_are_final(status):
        most = _refused("spec.loop.maxIterations", old.loop.max_iterations, new.loop.max_iterations)
        changes.append(f"{most}, since the policy has begun: a new run with spec.from goes on with the loops")
    return changes


def _differences(path: str, before: Any, after: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        names = [*before, *(name for name in after if name not in before)]
        return [text for name in names for text in _differences(f"{path}.{name}", before.get(name), after.get(name))]
    return [] if before == after else [_refused(path, before, after)]


def _refused(path: str, before: Any, after: Any) -> str:
    return f"{path} was {before!r} and cannot become {after!r}"
