"""Does the store keep its two promises? Asked before any expensive stage."""

import contextlib
import uuid
from concurrent.futures import ThreadPoolExecutor

from ser_core.api.stage import RunIdentity
from ser_core.errors import SERError, SpecError, StoreError
from ser_core.store.objects.port import CONDITIONAL_WRITES, ObjectStore

WRITERS = 8


def probe(store: ObjectStore, run: RunIdentity) -> None:
    """Write, read back, and let 8 writers race to create one key; exactly one may win. Leaves nothing behind, unless
    the store falls silent.

    Raises:
        StoreError: The store cannot be reached, or forbids reading, writing or deleting.
        SpecError: It does not refuse to create an existing key (reason `StoreLacksConditionalWrites`), or does not return
            what was just written (reason `StoreNotConsistent`).
    """
    key = f"{run.namespace}/{run.name}/{run.uid}/probe-{uuid.uuid4().hex[:8]}"
    store.put(key, b"probe")
    try:
        _check_promises(store, key)
    except SERError as error:
        if error.reason != "StoreUnavailable":  # it was waited for already
            with contextlib.suppress(StoreError):
                store.delete(key)
        raise
    store.delete(key)


def _check_promises(store: ObjectStore, key: str) -> None:
    if store.get(key) != b"probe":
        raise SpecError(
            f"storage.uri: {store.uri(key)} does not return what was just written to it",
            reason="StoreNotConsistent",
            hint="use a store with read-after-write consistency, without a cache in between",
        )
    store.delete(key)
    texts = [f"writer {writer}".encode() for writer in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        won = [text for text, wins in zip(texts, pool.map(lambda text: store.create(key, text), texts), strict=True) if wins]
    kept = store.get(key)
    # Whose answer was lost has asked again and was told that the key exists, so perhaps nobody knows that he has won.
    if kept not in (won or texts) or len(won) > 1:
        raise SpecError(
            f"storage.uri: {len(won)} of {WRITERS} racing writers created {store.uri(key)}; exactly one may, and its text must stay",
            reason="StoreLacksConditionalWrites",
            hint=CONDITIONAL_WRITES,
        )
