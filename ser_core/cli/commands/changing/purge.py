"""`ser purge`: delete what runs have stored."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ser_core.api.status import Phase
from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.runner import look
from ser_core.cli.access.serrun_file import read_serrun
from ser_core.cli.access.stored_run import SOON, is_file
from ser_core.cli.commands.changing.purge_orphans import purge_orphans, storage_of
from ser_core.cli.views.output import print_warning, say
from ser_core.errors import SpecError, UsageError
from ser_core.store.objects.connect import connect
from ser_core.store.objects.port import ObjectStore
from ser_core.store.runs.followers import followers
from ser_core.store.runs.purge import Stored, Together, refuse_followed, stored
from ser_core.store.runs.purge import purge as purge_run
from ser_core.store.runs.run_lock import STALE_SECONDS
from ser_core.store.runs.run_object import load_run, run_key

RunFiles = Annotated[
    list[Path] | None, typer.Argument(metavar="SERRUN.YAML...", help="The files that the runs were started with.", show_default=False)
]
Orphans = Annotated[bool, typer.Option("--orphans", help="In place of files: what runs have stored that are gone from the cluster.")]
Storage = Annotated[str | None, typer.Option("--storage", metavar="URI", help="Store to look through for them.", show_default=False)]
OlderThan = Annotated[str, typer.Option("--older-than", metavar="TIME", help="Only what was not written to for so long.")]
Endpoint = Annotated[str | None, typer.Option("--endpoint", metavar="URL", help="S3 server of --storage.", show_default=False)]
Region = Annotated[str | None, typer.Option("--region", help="Region of --storage.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def purge(
    files: RunFiles = None,
    yes: Yes = False,
    orphans: Orphans = False,
    storage: Storage = None,
    older_than: OlderThan = "7d",
    endpoint: Endpoint = None,
    region: Region = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Delete everything that runs have stored.

    Data, models, logs and history of all runs of these names. Asks first. A run whose files another one uses (spec.from) is purged
    only together with that one. --orphans lists what runs have stored whose SERRuns are gone, and deletes it with --yes.
    """
    if orphans == bool(files):
        hint = "for runs of this machine name their files; for runs that are gone from a cluster: --orphans --storage URI"
        raise UsageError("ser purge takes SERRun files or --orphans, one of both", reason="MissingOption", hint=hint)
    if orphans:
        purge_orphans(storage_of(storage, endpoint, region), older_than, Place(namespace, context, kubeconfig), yes=yes)
    else:
        _refuse_names(files or [], Place(namespace, context, kubeconfig))
        _purge_files(files or [], yes=yes)


def _refuse_names(files: list[Path], place: Place) -> None:
    """What a run on a cluster has stored is deleted once the run is gone: until then the operator may go on with it."""
    if named := [str(file) for file in files if not is_file(str(file))]:
        where = "" if place.namespace is None else f" -n {shlex.quote(place.namespace)}"
        raise UsageError(
            f"ser purge takes SERRun files, and {named[0]!r} is no file; a run on a cluster is deleted first, then what it has stored",
            reason="NotAFile",
            hint=f"kubectl delete serrun{where} {shlex.quote(named[0])}, then ser purge --orphans{where} --older-than 1h --storage URI",
        )


def _purge_files(files: list[Path], *, yes: bool) -> None:
    wanted = [read_serrun(file) for file in files]
    names = [(run.metadata.namespace, run.metadata.name) for run in wanted]
    stores = [connect(run.spec.storage, SOON) for run in wanted]
    found = [stored(store, *name) for store, name in zip(stores, names, strict=True)]
    for store, name, there in zip(stores, names, found, strict=True):
        _tell(store, *name, there, names)
    if not any(there.objects for there in found):
        return
    if not yes and not _confirmed():
        say("nothing was deleted; --yes deletes without asking")
        raise typer.Exit(1)
    # A follower goes first: were this interrupted, no run would be left without its files.
    order = sorted(range(len(names)), key=lambda one: bool(followers(stores[one], *names[one])))
    deleted = [purge_run(stores[one], *names[one], names).objects for one in order if found[one].objects]
    say(f"deleted {sum(deleted)} objects")


def _tell(store: ObjectStore, namespace: str, name: str, found: Stored, together: Together) -> None:
    """Say what would be deleted, or refuse it."""
    folder = store.uri(run_key(namespace, name)).rpartition("/")[0]
    if found.objects == 0:
        say(f"nothing is stored under {folder}")
        return
    if not found.of_a_run:  # a stranger's SERRun may name any folder of its reader
        hint = "is storage.uri that of the run?"
        raise SpecError(f"{folder} holds {found.objects} files, and none of a run: nothing is deleted", reason="RunNotFound", hint=hint)
    refuse_followed(store, namespace, name, together)
    _refuse_while_carried_out(store, namespace, name)
    run = load_run(store, namespace, name)
    if run is not None and run.status.phase in (Phase.RUNNING, Phase.QUEUED, Phase.WAITING):
        print_warning(f"run {namespace}/{name} has not ended, though no ser run works on it now")
    say(f"{found.objects} objects, {found.bytes / 1e6:,.1f} MB under {folder}")


def _refuse_while_carried_out(store: ObjectStore, namespace: str, name: str) -> None:
    seen = look(store, namespace, name)
    if seen is not None and seen.alive:
        wait = "" if seen.here else f"; one that was killed counts as ended {STALE_SECONDS:.0f} s after its last sign"
        raise SpecError(
            f"{seen.told}, works on {namespace}/{name}", reason="RunIsCarriedOut", hint=f"end it first, by Ctrl-C or SIGTERM{wait}"
        )


def _confirmed() -> bool:
    try:
        return typer.confirm("Delete all of them?", err=True)
    except typer.Abort:  # the end of the input, where there is no terminal
        say("")
        return False
