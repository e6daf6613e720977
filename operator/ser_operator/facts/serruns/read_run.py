"""From a SERRun as the API server holds it to a typed one, and to the status of one that cannot be read. Pure."""

from datetime import datetime
from typing import Any

from pydantic import ValidationError

from ser_core.api.known_part import read_known, read_status, unreadable_fields
from ser_core.api.problems import UNKNOWN, problems
from ser_core.api.run_template import TEMPLATE_UNUSABLE, resolved
from ser_core.api.serrun import Metadata, SERRun, SERRunSpec
from ser_core.api.status import Phase, SERRunStatus
from ser_core.errors import SpecError
from ser_core.loop.deciding.stages import key_of, live_attempt
from ser_core.loop.recording.coherence import coherent
from ser_core.loop.recording.conditions import conditions
from ser_core.loop.text import clip, write_time
from ser_core.version import VERSION
from ser_operator.facts.reading import Object

INVALID = "InvalidSpec"
UNKNOWN_FIELD, UNKNOWN_STAGE = "SpecUnknownField", "UnknownStage"
"""Another version of the operator knows more: this one leaves the run alone, and decides nothing about it."""


def read_run(body: Object) -> SERRun:
    """The run that ``body`` holds, with the copy of its template under its spec.

    A status that says that the run has ended is believed. Of a run that has not ended, an unreadable status, or one that the planner cannot
    have written, counts as lost, whoever wrote it: that costs a look at the store, since a committed stage reports again.

    Raises:
        SpecError: The spec passed the API server but is unusable; every field is named (reason `InvalidSpec`). Or only another version of
            the operator can carry the run on (reasons `SpecUnknownField`, `UnknownStage`).
    """
    status = read_status(body.get("status") or {})
    run = SERRun(metadata=_metadata(body), spec=_read_spec(resolved(body).get("spec", {})), status=status)
    if status.has_ended:
        return run
    live = live_attempt(status)
    if live is not None and not live.stage.is_known:
        raise SpecError(f"{key_of(live)} runs, {_REMEDY.format('a stage')}", reason=UNKNOWN_STAGE)
    return run if coherent(run, status) else run.model_copy(update={"status": SERRunStatus(template=status.template)})


_REMEDY = f"{{}} that operator {VERSION} does not know: the run waits for an operator of the version that does"


def _read_spec(document: Object) -> SERRunSpec:
    try:
        spec, beyond = read_known(SERRunSpec, document)
        unknown = [one.field for one in beyond]
    except ValidationError as error:
        found = problems(error, SERRunSpec)
        unknown = [problem.field for problem in found if problem.kind in UNKNOWN]
        if len(unknown) < len(found):
            told = "; ".join(f"spec.{problem.field}: {problem.text}" for problem in found)
            raise SpecError(told, reason=INVALID) from error
    if unknown:
        named = ", ".join(f"spec.{field}" for field in unknown)
        raise SpecError(f"{named}: set to what {_REMEDY.format('')}", reason=UNKNOWN_FIELD)
    return spec


def is_misread(status: SERRunStatus) -> bool:
    """Whether a run has failed for its spec before it began: once that is another one, it is read like that of a new run."""
    failed = next((one.reason for one in status.conditions if one.type == "Failed"), "")
    return status.phase is Phase.FAILED and status.started_at is None and failed == INVALID


def unreadable(body: Object, error: SpecError, now: datetime) -> SERRunStatus | None:
    """Status of a run that `read_run` cannot read; None when it has ended, and stays as it is.

    One that has failed for an earlier spec is told what is wrong now.

    A run that only another version can read waits for it, and so does one that has begun: its spec was good for who started it. What runs
    goes on. Any other has failed.
    """
    before, generation = read_status(body.get("status") or {}), _metadata(body).generation
    if before.has_ended and (before.observed_generation == generation or not is_misread(before)):
        return None
    held = error.reason != INVALID or before.started_at is not None
    phase, told = Phase.WAITING if held else Phase.FAILED, clip(error.message)
    if (before.phase, before.message, before.observed_generation) == (phase, told, generation):
        return before
    return before.model_copy(
        update={
            "phase": phase,
            "message": told,
            "observed_generation": generation,
            "conditions": conditions(before.conditions, phase, error.reason, told, generation, write_time(now), stalled=held),
            "waiting_since": (before.waiting_since or write_time(now)) if held else None,
            "finished_at": None if held else write_time(now),
            "template": None if error.reason == TEMPLATE_UNUSABLE else before.template,
        }
    )


def write_status(status: SERRunStatus, before: Object) -> dict[str, Any]:
    """``status`` as server-side apply takes it: what is absent is removed.

    Args:
        status: What to write.
        before: What stands there: if the run has ended, fields that could not be read stay.
    """
    written = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    kept = unreadable_fields(before) if status.has_ended else ()
    return {**written, **{name: before[name] for name in kept}}


def _metadata(body: Object) -> Metadata:
    return Metadata.model_construct(
        name=body["metadata"]["name"],
        namespace=body["metadata"]["namespace"],
        uid=body["metadata"]["uid"],
        generation=body["metadata"].get("generation", 1),
    )
