"""The lock of a run that `ser run` carries out: ``<namespace>/<name>/LOCK.json`` beside the run's object, so that every machine and user
sees it who sees the run.

It names its holder, who writes it anew every `BEAT_SECONDS`. How old it is tells the store by its own clock. After `STALE_SECONDS` without
the holder anybody may take it over; of several one does, since a claim is made by a create-only write. A holder that was only frozen sees
at its next beat that the lock is another's, and ends. Until then both may work: what they store stays right, since a manifest is created
once.
"""

from pydantic import Field, ValidationError

from ser_core.api.model import Record
from ser_core.errors import ObjectNotFound, StoreError
from ser_core.store.objects.port import ObjectStore

BEAT_SECONDS = 10.0
"""Between two writes of a holder."""
STALE_SECONDS = 60.0
"""After so long without a write a holder of another machine counts as dead."""
_TRIES = 100
"""Each but the first means that another one has released the lock, or taken it, just then."""


class Process(Record):
    """One process of a machine. Numbers are used again, so the moment at which it started belongs to it."""

    number: int
    started: int
    """Ticks since the machine's start."""


class Holder(Record):
    """Who holds a lock."""

    token: str = Field(pattern="^[0-9a-z]{1,64}$")
    """Another one for each `ser run`."""
    host: str
    place: str = ""
    """In which numbers of processes mean something: the machine's start and the process namespace. Empty: unknown."""
    user: int = -1
    processes: tuple[Process, ...] = ()
    """`ser run`, and the server of its stages. While one of them lives, so does the holder."""


UNREADABLE = Holder(token="unreadable", host="an unknown machine")
"""Stands for a holder that was changed by hand or written by another version."""


def lock_key(namespace: str, name: str) -> str:
    """Key of the lock."""
    return f"{namespace}/{name}/LOCK.json"


def read_holder(store: ObjectStore, key: str) -> Holder | None:
    """Who holds the lock under ``key``; None: nobody."""
    try:
        return Holder.model_validate_json(store.get(key))
    except ObjectNotFound:
        return None
    except ValidationError:
        return UNREADABLE


class RunLock:
    """The lock of one run, as one `ser run` uses it.

    Args:
        store: That of the run.
        namespace: Of the run.
        name: Of the run.
    """

    def __init__(self, store: ObjectStore, namespace: str, name: str) -> None:
        self._store = store
        self._key = lock_key(namespace, name)

    def take(self, own: Holder) -> Holder | None:
        """Take the lock where nobody holds it. Returns who does; None: it is ours.

        Raises:
            StoreError: It is there and is not there, again and again.
        """
        for _ in range(_TRIES):
            other = read_holder(self._store, self._key)
            if other is not None:
                return None if other.token == own.token else other
            if self._store.create(self._key, _encoded(own)):
                return None
        what = f"{self._store.uri(self._key)} can be neither read nor created"
        raise StoreError(what, hint="remove it, if it is a link or a marker that leads nowhere")

    def silent_seconds(self) -> float:
        """Since the holder wrote last, by the store's clock; 0 where the lock was released meanwhile."""
        return seconds_since(self._store, self._key)

    def take_over(self, dead: Holder, own: Holder) -> bool:
        """Take the lock of a holder that is dead. False: another one was first, or is about to be."""
        claim = self._key.removesuffix(".json") + f"-{dead.token}.json"
        if not self._store.create(claim, _encoded(own)):
            if seconds_since(self._store, claim) > STALE_SECONDS:  # who made it was killed before the next line
                self._store.delete(claim)
            return False
        mine = read_holder(self._store, self._key) == dead
        if mine:
            self._store.put(self._key, _encoded(own))
        self._store.delete(claim)
        return mine

    def renew(self, own: Holder) -> Holder | None:
        """Say that the holder lives. Returns who has taken the lock over; None: it is still ours."""
        other = self.take(own)
        if other is None:
            self._store.put(self._key, _encoded(own))
        return other

    def release(self, own: Holder) -> None:
        """Leave the lock to the next."""
        held = read_holder(self._store, self._key)
        if held is not None and held.token == own.token:
            self._store.delete(self._key)


def seconds_since(store: ObjectStore, key: str) -> float:
    """Since ``key`` was written, by the store's own clock; 0 where there is no such object."""
    try:
        return store.age(key)
    except ObjectNotFound:
        return 0.0


def _encoded(holder: Holder) -> bytes:
    return holder.model_dump_json(by_alias=True).encode()
