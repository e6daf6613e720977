"""The run that a SERRun file means, with what the file has changed since: what `ser run` goes on with."""

import shlex
from datetime import UTC, datetime
from pathlib import Path

from ser_core.api.immutability import forbidden_changes, refuse_changes, with_earlier_defaults
from ser_core.api.serrun import SERRun
from ser_core.errors import SpecError
from ser_core.loop.deciding.reopening import reopened
from ser_core.shown import shown_line
from ser_core.store.objects.port import ObjectStore
from ser_core.store.runs.run_object import load_run


def begun_run(store: ObjectStore, wanted: SERRun, path: Path) -> SERRun | None:
    """The run that stands in the store, with the mutable fields of the file; None: it was never begun.

    Raises:
        SpecError: A field differs that cannot change any more (``ImmutableField``).
        StoreError: The store cannot be read.
    """
    run = load_run(store, wanted.metadata.namespace, wanted.metadata.name)
    if run is None:
        return None
    wanted = _as_stored(run, wanted)
    changes = forbidden_changes(run.spec, wanted.spec, run.status)
    if changes:
        held = f"{wanted.spec.storage.uri} holds a run {run.metadata.namespace}/{run.metadata.name} ({run.status.phase})"
        raise SpecError(
            f"{shown_line(str(path))}: {held} that was started with another spec:" + "".join(f"\n  {change}" for change in changes),
            reason="ImmutableField",
            hint=f"to go on: {_how_to_go_on(run, wanted)}; to begin anew: ser purge {shlex.quote(str(path))}; "
            "to keep the old run: write another storage.uri or metadata.name",
        )
    return with_spec(run, wanted)


def _how_to_go_on(run: SERRun, wanted: SERRun) -> str:
    old = run.spec.storage.uri
    back = "write the old values back"
    return back if wanted.spec.storage.uri == old else f"move what was stored back to {shown_line(old)}, and {back}"


def with_spec(run: SERRun, wanted: SERRun) -> SERRun:
    """``run`` with the mutable fields of ``wanted``.

    Raises:
        SpecError: A field differs that cannot change any more (``ImmutableField``).
    """
    wanted = _as_stored(run, wanted)
    if run.spec == wanted.spec:
        return run
    refuse_changes(run.spec, wanted.spec, run.status)
    metadata = run.metadata.model_copy(update={"generation": run.metadata.generation + 1})
    return run.model_copy(update={"metadata": metadata, "spec": wanted.spec})


def is_over(run: SERRun) -> bool:
    """Whether a run has ended and its spec does not let it go on."""
    return run.status.has_ended and reopened(run, datetime.now(UTC)) is None


def _as_stored(run: SERRun, wanted: SERRun) -> SERRun:
    """``wanted`` with what stands in the stored run alone: what `ser retry` has raised, and the defaults of the version that began it."""
    spec = wanted.spec.model_copy(update={"reopen": max(run.spec.reopen, wanted.spec.reopen)})
    return wanted.model_copy(update={"spec": with_earlier_defaults(run.spec, spec)})
