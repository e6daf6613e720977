"""The state of a run while the store does not take it: `ser run` goes on, says so once, and saves it later."""

import pytest

from ser_core.api.serrun import SERRun
from ser_core.cli.access.saved_run import PAUSE_SECONDS, SavedRun
from ser_core.errors import StoreAccessDenied, StoreError
from ser_core.store.objects.file import FileStore
from ser_core.store.runs.run_object import load_run

SPEC = {"rewardModel": {"base": "hf://o/m"}, "data": {"source": {"uri": "hf://o/d"}}, "storage": {"uri": "s3://bucket/r"}}


class Flaky:
    """A store that may be away."""

    def __init__(self, store):
        self.store, self.error, self.puts = store, None, 0

    def put(self, key, data):
        self.puts += 1
        if self.error is not None:
            raise self.error
        self.store.put(key, data)


@pytest.fixture
def place(tmp_path):
    store, now, told = Flaky(FileStore(tmp_path)), [0.0], []
    return store, now, told, SavedRun(store, told.append, lambda: now[0])


def a_run(generation):
    return SERRun.model_validate({"metadata": {"name": "hh", "uid": "u", "generation": generation}, "spec": SPEC})


@pytest.mark.parametrize("error", [StoreError("503"), StoreAccessDenied("ExpiredToken")])
def test_the_newest_state_is_saved_once_the_store_is_back(place, error):
    store, now, told, saved = place
    store.error = error
    saved.save(a_run(1))
    assert not saved.flush()
    saved.save(a_run(2))
    assert not saved.flush()
    assert store.puts == 1, "a store that is away is not asked at every look"

    now[0], store.error = PAUSE_SECONDS, None
    assert saved.flush()
    assert load_run(store.store, "default", "hh").metadata.generation == 2
    assert len(told) == 1


def test_an_outage_that_lasts_is_told_once_and_the_next_one_again(place):
    store, now, told, saved = place
    for outage in (1, 2):
        store.error = StoreError("503")
        saved.save(a_run(outage))
        for _ in range(5):
            now[0] += PAUSE_SECONDS
            assert not saved.flush()
        store.error = None
        now[0] += PAUSE_SECONDS
        assert saved.flush()

    assert len(told) == 2


def test_nothing_to_save_asks_nothing(place):
    store, _, _, saved = place

    assert saved.flush()
    assert store.puts == 0
