"""From a SERRun file to the run that stands in its store. Every read-only command starts here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ser_core.api.serrun import SERRun
from ser_core.cli.serrun_file import read_serrun
from ser_core.errors import SpecError
from ser_core.store.connect import connect
from ser_core.store.port import ObjectStore
from ser_core.store.run_object import load_run

RunFile = Annotated[Path, typer.Argument(metavar="SERRUN.YAML", help="The file that the run was started with.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it was last saved, and the store that holds it."""

    run: SERRun
    store: ObjectStore


def open_run(file: Path) -> StoredRun:
    """The run that ``file`` started.

    Raises:
        SpecError: The file is wrong, or its run was never started (``RunNotFound``).
        StoreError: The store cannot be read.
    """
    wanted = read_serrun(file)
    store = connect(wanted.spec.storage)
    name, namespace = wanted.metadata.name, wanted.metadata.namespace
    run = load_run(store, namespace, name)
    if run is None:
        raise SpecError(
            f"{wanted.spec.storage.uri} holds no run {namespace}/{name}", reason="RunNotFound", hint=f"start it: ser run {file}"
        )
    return StoredRun(run, store)
