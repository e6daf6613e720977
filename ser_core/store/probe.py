"""Does the store keep its two promises? Asked before any expensive stage."""

import uuid
from concurrent.futures import ThreadPoolExecutor

from ser_core.api.stage import RunIdentity
from ser_core.errors import SpecError
from ser_core.store.port import ObjectStore

WRITERS = 8


def probe(store: ObjectStore, run: RunIdentity) -> None:
    """Write, read back, and let 8 writers race to create one key; exactly one may win. Leaves nothing behind.

    Raises:
        StoreError: The store cannot be reached, or forbids reading, writing or deleting.
        SpecError: It does not refuse to create an existing key (reason `StoreLacksConditionalWrites`), or does not return
            what was just written (reason `StoreNotConsistent`).
    """
    key = f"{run.namespace}/{run.name}/{run.uid}/probe-{uuid.uuid4().hex[:8]}"
    try:
        store.put(key, b"probe")
        if store.get(key) != b"probe":
            raise SpecError(
                f"storage.uri: {store.uri(key)} does not return what was just written to it",
                reason="StoreNotConsistent",
                hint="use a store with read-after-write consistency, without a cache in between",
            )
        store.delete(key)
        with ThreadPoolExecutor(WRITERS) as pool:
            winners = sum(pool.map(lambda writer: store.create(key, f"writer {writer}".encode()), range(WRITERS)))
        if winners != 1:
            raise SpecError(
                f"storage.uri: {winners} of {WRITERS} racing writers created {store.uri(key)}; exactly one may",
                reason="StoreLacksConditionalWrites",
                hint="use a store that honours If-None-Match: * (AWS S3, MinIO, versitygw), or file:// on a disk with hard links",
            )
    finally:
        store.delete(key)
