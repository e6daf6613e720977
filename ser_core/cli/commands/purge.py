"""`ser purge`: delete what a run has stored. Nothing else ever deletes a run's data."""

from typing import Annotated

import typer

from ser_core.api.status import Phase
from ser_core.cli.access.serrun_file import read_serrun
from ser_core.cli.access.stored_run import SOON, RunFile
from ser_core.cli.views.output import print_warning, say
from ser_core.store.connect import connect
from ser_core.store.purge import purge as purge_run
from ser_core.store.purge import stored
from ser_core.store.run_object import load_run, run_key

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def purge(file: RunFile, yes: Yes = False) -> None:
    """Delete everything that a run has stored.

    Data, models, logs and history of all runs of this name. Asks first.
    """
    wanted = read_serrun(file)
    namespace, name = wanted.metadata.namespace, wanted.metadata.name
    store = connect(wanted.spec.storage, SOON)
    found = stored(store, namespace, name)
    folder = store.uri(run_key(namespace, name)).rpartition("/")[0]
    if found.objects == 0:
        say(f"nothing is stored under {folder}")
        return
    run = load_run(store, namespace, name)
    if run is not None and run.status.phase in (Phase.RUNNING, Phase.QUEUED, Phase.WAITING):
        print_warning(f"run {namespace}/{name} has not ended; stop its ser run first")
    say(f"{found.objects} objects, {found.bytes / 1e6:,.1f} MB under {folder}")
    if not yes and not _confirmed():
        say("nothing was deleted; --yes deletes without asking")
        raise typer.Exit(1)
    deleted = purge_run(store, namespace, name)
    say(f"deleted {deleted.objects} objects")


def _confirmed() -> bool:
    try:
        return typer.confirm("Delete all of them?", err=True)
    except typer.Abort:  # the end of the input, where there is no terminal
        say("")
        return False
