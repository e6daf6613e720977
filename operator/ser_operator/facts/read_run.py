"""From a SERRun as the API server holds it to a typed one, and to the status of one that cannot be read. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from ser_core.api.problems import problems
from ser_core.api.serrun import Metadata, SERRun, SERRunSpec
from ser_core.api.status import Phase, SERRunStatus
from ser_core.errors import SpecError
from ser_core.loop.recording.coherence import coherent
from ser_core.loop.recording.conditions import conditions
from ser_core.loop.text import clip, write_time

Object = Mapping[str, Any]

INVALID = "InvalidSpec"


def read_run(body: Object) -> SERRun:
    """The run that ``body`` holds.

    An unreadable status, or one that the planner cannot have written, counts as lost, whoever wrote it: that costs a look at the store,
    since a committed stage reports again.

    Raises:
        SpecError: The spec passed the API server but is unusable; every field is named (reason `InvalidSpec`).
    """
    try:
        spec = SERRunSpec.model_validate(body.get("spec", {}))
    except ValidationError as error:
        told = "; ".join(f"spec.{problem.field}: {problem.text}" for problem in problems(error, SERRunSpec))
        raise SpecError(told, reason=INVALID) from error
    run = SERRun(metadata=_metadata(body), spec=spec, status=read_status(body))
    return run if coherent(run, run.status) else run.model_copy(update={"status": SERRunStatus()})


def read_status(body: Object) -> SERRunStatus:
    """The status that ``body`` holds; an empty one when it holds none that could be ours."""
    try:
        return SERRunStatus.model_validate(body.get("status") or {})
    except ValidationError:
        return SERRunStatus()


def unreadable(body: Object, message: str, now: datetime) -> SERRunStatus:
    """Status of a run whose spec is unusable: failed, without a stage ever started."""
    before, generation = read_status(body), _metadata(body).generation
    told = clip(message)
    if (before.phase, before.message, before.observed_generation) == (Phase.FAILED, told, generation):
        return before
    return before.model_copy(
        update={
            "phase": Phase.FAILED,
            "message": told,
            "observed_generation": generation,
            "conditions": conditions(before.conditions, Phase.FAILED, INVALID, told, generation, write_time(now)),
            "finished_at": write_time(now),
        }
    )


def write_status(status: SERRunStatus) -> dict[str, Any]:
    """``status`` as server-side apply takes it: what is absent is removed."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _metadata(body: Object) -> Metadata:
    return Metadata.model_construct(
        name=body["metadata"]["name"],
        namespace=body["metadata"]["namespace"],
        uid=body["metadata"]["uid"],
        generation=body["metadata"].get("generation", 1),
    )
