"""From what the user names to a run: a SERRun file means the run in its store, a name means a run on a cluster.

Every reading command starts here.
"""

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import typer

from ser_core.api.serrun import SERRun
from ser_core.api.spec.storage import StorageSpec
from ser_core.cli.access.cluster import Cluster, connect_cluster
from ser_core.cli.access.place import Place
from ser_core.cli.access.serrun_file import read_serrun
from ser_core.errors import SpecError
from ser_core.store.objects.connect import connect, folder_of
from ser_core.store.objects.port import ObjectStore
from ser_core.store.objects.retry import Retry
from ser_core.store.runs.run_object import load_run

RunFile = Annotated[Path, typer.Argument(metavar="SERRUN.YAML", help="The SERRun file.", show_default=False)]
Target = Annotated[
    str, typer.Argument(metavar="RUN", help="Name of a run on a cluster, or the SERRun file of a run of this machine.", show_default=False)
]
LoopOption = Annotated[
    int | None,
    typer.Option("--loop", "-l", min=0, metavar="N", help="The model of this loop (0: the seed model), not the best.", show_default=False),
]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON lines for machines.")]

SOON = Retry(deadline_seconds=20.0)
"""Deadline for a store while a user waits at the terminal: here a wrong address is more likely than a restart of the store."""

_FILE_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class StoredRun:
    """A run as it was last saved, and the store that holds its results."""

    run: SERRun
    storage: StorageSpec
    target: str
    """What the user named it by, as a shell reads it, with the options of its cluster; for hints."""
    cluster: Cluster | None = None
    """Where the run lives; None: on this machine."""

    @cached_property
    def store(self) -> ObjectStore:
        """Nothing is sent before it is used."""
        return connect(self.storage, SOON)


def is_file(target: str) -> bool:
    """Whether a target means a file; everything else is the name of a run on a cluster."""
    return "/" in target or target.endswith(_FILE_SUFFIXES) or Path(target).is_file()


def open_run(target: str, place: Place) -> StoredRun:
    """The run that the user means.

    Args:
        target: A SERRun file, or a run's name.
        place: On which cluster.

    Raises:
        SpecError: The file is wrong, or there is no such run (``RunNotFound``).
        StoreError: The store cannot be read.
        ClusterError: The cluster cannot be read.
    """
    if not is_file(target):
        cluster = connect_cluster(place)
        run = cluster.run(target)
        return StoredRun(run, run.spec.storage, f"{target}{place.options}", cluster)
    if place.given:
        name = read_serrun(Path(target)).metadata.name
        raise SpecError(
            f"{target} is a file, and files mean runs of this machine", reason="NotOnACluster", hint=f"give the name: {name}{place.options}"
        )
    return _local(Path(target))


def run_command(file: Path) -> str:
    """The command that starts the run of a file or goes on with it, as a shell reads it."""
    return f"ser run {shlex.quote(str(file))}"


def _local(file: Path) -> StoredRun:
    wanted = read_serrun(file)
    name, namespace, storage = wanted.metadata.name, wanted.metadata.namespace, wanted.spec.storage
    run = load_run(connect(storage, SOON), namespace, name)
    folder = folder_of(storage)
    if run is None and folder is not None and not folder.is_dir():
        hint = f"mount or move it back, if the run was begun; else start it: {run_command(file)}"
        raise SpecError(f"{storage.uri} does not exist", reason="RunNotFound", hint=hint)
    if run is None:
        hint = f"start it: {run_command(file)}; a run on a cluster is read by its name: {name} -n {namespace}"
        raise SpecError(f"{storage.uri} holds no run {namespace}/{name}", reason="RunNotFound", hint=hint)
    return StoredRun(run, storage, shlex.quote(str(file)))
