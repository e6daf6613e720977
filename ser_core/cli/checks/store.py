"""What the store can, and what of this run it holds already."""

import uuid
from pathlib import Path

from ser_core.api.serrun import SERRun
from ser_core.api.stage import RunIdentity
from ser_core.cli.access.begun_run import begun_run
from ser_core.cli.access.stored_run import SOON
from ser_core.cli.checks.check import Check
from ser_core.store.objects.retry import Retry


def check_store(run: SERRun, soon: Retry) -> Check:
    """The store gives the guarantees that commits need: what is written can be read, and of 8 racing writers one wins."""
    from ser_core.store.objects.connect import connect
    from ser_core.store.objects.probe import probe

    identity = RunIdentity(namespace=run.metadata.namespace, name=run.metadata.name, uid=f"validate-{uuid.uuid4().hex[:8]}")
    probe(connect(run.spec.storage, soon), identity)
    return Check("store", (f"{run.spec.storage.uri}: can be written, one of 8 racing writers won",))


def check_run(run: SERRun, file: Path) -> Check:
    """The store holds no run of this name, or one that this file goes on with, as `ser run` sees it."""
    from ser_core.store.objects.connect import connect

    begun, name = begun_run(connect(run.spec.storage, SOON), run, file), f"{run.metadata.namespace}/{run.metadata.name}"
    return Check("run", (f"{name} is new" if begun is None else f"{name} was begun before ({begun.status.phase})",))


def check_from(run: SERRun, soon: Retry) -> Check:
    """The store holds the run that `spec.from` names. What of it can be taken over is told by the run itself, stage by stage."""
    from ser_core.store.objects.connect import connect
    from ser_core.store.runs.leader import find_leader

    identity = RunIdentity(namespace=run.metadata.namespace, name=run.metadata.name, uid=f"validate-{uuid.uuid4().hex[:8]}")
    found = find_leader(connect(run.spec.storage, soon), identity, run.spec.from_.run if run.spec.from_ else "")
    return Check("from", (f"{found.namespace}/{found.name}, UID {found.uid}",))
