"""`ser purge --orphans`: what runs have stored whose SERRuns are gone from the cluster. Listed first; deleted with --yes alone."""

import re
import time
from collections.abc import Iterator

from pydantic import ValidationError

from ser_core.api.cluster_identity import cluster_identity
from ser_core.api.problems import problems
from ser_core.api.spec.storage import StorageSpec
from ser_core.api.values.amounts import duration_seconds
from ser_core.api.values.forms import NAMESPACE
from ser_core.cli.access.cluster import Cluster, connect_cluster
from ser_core.cli.access.place import Place
from ser_core.cli.access.stored_run import SOON
from ser_core.cli.views.output import say
from ser_core.errors import ClusterAccessDenied, UsageError
from ser_core.store.objects.connect import connect
from ser_core.store.objects.port import ObjectStore
from ser_core.store.runs.orphans import Present, RunFolder, delete_folder, run_folders, why_kept
from ser_core.store.stages.manifest import run_prefix


def purge_orphans(storage: StorageSpec, older_than: str, place: Place, *, yes: bool) -> None:
    """List the folders of runs that are gone, and with ``yes`` delete them.

    Raises:
        SpecError: No cluster is named, or it knows no SERRuns.
        StoreError: The store cannot be read.
    """
    seconds = age_seconds(older_than)
    store, cluster = connect(storage, SOON, stands=True), connect_cluster(place)
    folders = [one for one in run_folders(store) if place.namespace in (None, one.run.namespace)]
    if not any(one.owner for one in folders):
        say(f"{storage.uri} holds no run of a cluster; --storage takes what storage.uri of the SERRuns says, whole")
    present = dict(_present(cluster, {one.run.namespace for one in folders}))
    identity = cluster_identity(cluster.authorities(cluster.namespace))
    now = time.time()
    orphans = []
    for one in folders:
        why = why_kept(one, folders, identity, present, seconds, now)
        say(f"keep    {_told(store, one)}: {why}" if why else f"delete  {_told(store, one)}")
        orphans += [] if why else [one]
    if not orphans:
        say("nothing to delete")
    elif not yes:
        say(f"nothing was deleted; with --yes these {len(orphans)} go")
    else:
        _delete(store, orphans)


def age_seconds(text: str) -> int:
    """Seconds of ``7d``, or of a duration as in a SERRun.

    Raises:
        UsageError: It is neither.
    """
    days = re.fullmatch(r"(\d{1,4})d", text, re.ASCII)
    try:
        return int(days[1]) * 86_400 if days else duration_seconds(text)
    except ValueError as error:
        raise UsageError(f"--older-than {text!r}: {error}", reason="InvalidOption", hint="write days or hours: --older-than 7d") from error


def storage_of(uri: str | None, endpoint: str | None, region: str | None) -> StorageSpec:
    """The store that the options name.

    Raises:
        UsageError: They name none.
    """
    if uri is None:
        raise UsageError("--orphans looks through a whole store", reason="MissingOption", hint="name it: --storage s3://bucket/prefix")
    try:
        return StorageSpec(uri=uri, endpoint=endpoint, region=region)
    except ValidationError as error:
        option = {"uri": "storage"}
        told = "; ".join(f"--{option.get(found.field, found.field)}: {found.text}" for found in problems(error, StorageSpec))
        raise UsageError(told, reason="InvalidOption", hint="write --storage as storage.uri of a SERRun") from error


def _present(cluster: Cluster, namespaces: set[str]) -> Iterator[tuple[str, Present]]:
    for namespace in filter(NAMESPACE.has, sorted(namespaces)):  # of another name there is none, and it would stand in an address
        try:
            yield namespace, Present(*cluster.present(namespace))
        except ClusterAccessDenied:
            continue


def _delete(store: ObjectStore, orphans: list[RunFolder]) -> None:
    deleted = [one for one in orphans if delete_folder(store, one.run)]
    say(f"deleted {sum(one.objects for one in deleted)} objects of {len(deleted)} runs, {sum(one.bytes for one in deleted) / 1e6:,.1f} MB")
    for one in orphans:
        if one not in deleted:
            say(f"kept  {_told(store, one)}: another run has just begun to use its files")


def _told(store: ObjectStore, folder: RunFolder) -> str:
    return f"{store.uri(run_prefix(folder.run))} ({folder.objects} objects, {folder.bytes / 1e6:,.1f} MB)"
