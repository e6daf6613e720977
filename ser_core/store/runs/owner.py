"""Whose a run's folder in a store is: one object in it names the cluster, so that a cleaner tells its own runs from those of others.

A run of `ser run`, or of version 0.1.0, has none: nobody but its user can tell that it is not wanted any more.
"""

from pydantic import ValidationError

from ser_core.api.model import Record
from ser_core.api.stage import RunIdentity
from ser_core.errors import ObjectNotFound
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.manifest import run_prefix


class Owner(Record):
    """Who has made a run's folder."""

    cluster: str
    """`ser_core.api.cluster_identity` of the run's cluster."""


def owner_key(run: RunIdentity) -> str:
    """Key of the mark."""
    return f"{run_prefix(run)}/OWNER.json"


def mark_owner(store: ObjectStore, run: RunIdentity, cluster: str) -> None:
    """Write down whose a run is. Once written, it stays."""
    store.create(owner_key(run), Owner(cluster=cluster).model_dump_json(by_alias=True).encode())


def owner_of(store: ObjectStore, run: RunIdentity) -> str:
    """Cluster of a run; empty: nothing that can be read says it."""
    try:
        return Owner.model_validate_json(store.get(owner_key(run))).cluster
    except (ObjectNotFound, ValidationError):
        return ""
