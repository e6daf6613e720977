"""The state of a run while `ser run` works: saved at once, or as soon as the store takes it again."""

import time
from collections.abc import Callable

from ser_core.api.serrun import SERRun
from ser_core.errors import StoreError
from ser_core.store.objects.port import ObjectStore
from ser_core.store.runs.run_object import save_run

PAUSE_SECONDS = 10.0
"""Between two tries. Nothing hangs on the saved state: a run whose state is old is continued where its manifests say."""


class SavedRun:
    """Saves the newest state of a run.

    Args:
        store: With a short deadline, since the run goes on meanwhile.
        warn: Told once when the store does not take it.
        clock: Monotonic, in seconds.
    """

    def __init__(self, store: ObjectStore, warn: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._warn = warn
        self._clock = clock
        self._unsaved: SERRun | None = None
        self._told = False
        self._not_before = float("-inf")

    def save(self, run: SERRun) -> None:
        """Save ``run`` now or later (`flush`)."""
        self._unsaved = run

    def flush(self) -> bool:
        """Try to save what is not saved yet; returns whether nothing is left."""
        if self._unsaved is None:
            return True
        if self._clock() < self._not_before:
            return False
        try:
            save_run(self._store, self._unsaved)
        except StoreError as error:
            self._not_before = self._clock() + PAUSE_SECONDS
            if not self._told:
                self._warn(f"the run's state cannot be saved now: {error.message}; ser run tries again every {PAUSE_SECONDS:g} s")
            self._told = True
            return False
        self._unsaved, self._told = None, False
        return True
