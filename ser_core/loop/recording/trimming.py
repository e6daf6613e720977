"""What the status forgets. It must stay far below the size that an API server takes, whatever happened to the run."""

from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.loop import Control
from ser_core.api.status import Outcome, SERRunStatus, StageKind, StageStatus
from ser_core.loop.deciding.attempt_resources import may_have_lacked
from ser_core.loop.deciding.attempts import attempts_of, still_decides
from ser_core.loop.deciding.stages import (
    LABEL_1,
    PPO,
    PREPARE,
    SEED_MODEL,
    SFT,
    StageKey,
    committed,
    ending_stage,
    key_of,
    loops_ended,
    waiting_controls,
)
from ser_core.loop.text import clip

MAX_FAILURES = 8
OLD_MESSAGE_BYTES = 48
MAX_BYTES = 32 * 1024
"""Of a status as it is written, without the copy of a template: that has a bound of its own, and no figure gives way to it."""
_LESS_NEEDED: tuple[tuple[str, ...], ...] = (("monitors",), ("threshold", "temperature", "agreement", "accuracy_low", "accuracy_high"))
"""What no decision reads of a loop, in the order in which a status that grows too large does without it. The stages' manifests keep it."""


def trim(spec: SERRunSpec, status: SERRunStatus) -> SERRunStatus:
    """``status`` with the committed stages that a later one reads, the live attempt, and the last failures.

    Full messages stay with the last iteration and the last failure. What an attempt had stays with the live one, and with the last that may
    have lacked some. Of stages that only another version knows everything stays. Where all this is still too large, the oldest loops
    are told with fewer figures, never the last one.
    """
    failures = [row for row in status.stages if row.stage.is_known and row.outcome not in (Outcome.DONE, Outcome.RUNNING)]
    kept = _last_failures(status, failures)
    recorded = next((row for row in reversed(failures) if row.outcome is Outcome.FAILED and may_have_lacked(row)), None)
    last = len(status.iterations) - 1
    stages = []
    for row in status.stages:
        if row.outcome is Outcome.RUNNING or not row.stage.is_known:
            stages.append(row)
        elif row.outcome is Outcome.DONE and _still_read(row, spec, status):
            stages.append(_without_record(row if row.iteration == last else _shorter(row, 0)))
        elif row in kept:
            shown = row if row is failures[-1] else _shorter(row, OLD_MESSAGE_BYTES)
            stages.append(shown if row is recorded else _without_record(shown))
    return _within_its_size(status.model_copy(update={"stages": tuple(stages)}))


def _within_its_size(status: SERRunStatus) -> SERRunStatus:
    """``status`` with as many figures as fit. Only long URIs, many loops and many failures together ask for it."""
    for names in _LESS_NEEDED:
        for number, row in enumerate(status.iterations[:-1]):
            if len(status.model_dump_json(by_alias=True, exclude_none=True, exclude={"template"}).encode()) < MAX_BYTES:
                return status
            shorter = row.model_copy(update=dict.fromkeys(names))
            status = status.model_copy(update={"iterations": (*status.iterations[:number], shorter, *status.iterations[number + 1 :])})
    return status


def _shorter(row: StageStatus, limit: int) -> StageStatus:
    node = "" if row.forgiven else row.node
    return row.model_copy(update={"message": clip(row.message, limit) if limit else "", "node": node})


def _without_record(row: StageStatus) -> StageStatus:
    return row.model_copy(update={"resources": None})


def _still_read(row: StageStatus, spec: SERRunSpec, status: SERRunStatus) -> bool:
    loop = spec.loop
    if key_of(row) in (PREPARE, PPO):
        return True
    if key_of(row) in (SEED_MODEL, SFT) and spec.policy is not None and PPO not in committed(status):
        return True
    if row.stage is StageKind.RETRAIN and row.iteration == status.best_iteration:
        return True
    if key_of(row) == LABEL_1 and Control.PSEUDO_LABEL_ONCE in waiting_controls(loop, status):
        return True
    if loops_ended(loop, status) and loop.controls:
        last = StageKey(_last_retrain(status), StageKind.RETRAIN)
        read_by_another_loop = StageKey(last.iteration, StageKind.FILTER) if spec.policy is None else last
        return key_of(row) in (last, read_by_another_loop, ending_stage(status))
    current = max((known.iteration for known in status.stages), default=0)
    return row.iteration == current or (row.iteration == current - 1 and row.stage is not StageKind.LABEL)


def _last_retrain(status: SERRunStatus) -> int:
    return max(key.iteration for key in committed(status) if key.stage is StageKind.RETRAIN)


def _last_failures(status: SERRunStatus, failures: list[StageStatus]) -> list[StageStatus]:
    """The last failures, but first of all those that still count for the stage that is being tried."""
    if not failures:
        return []
    rows = attempts_of(status, key_of(failures[-1]))
    pinned = [row for row in failures if row in rows and still_decides(row, rows)]
    others = [row for row in failures if row not in pinned]
    return pinned + others[max(0, len(others) - (MAX_FAILURES - len(pinned))) :]
