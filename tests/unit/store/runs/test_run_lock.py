"""The lock of `ser run` in both stores: one holder, taken over from a dead one by one of many, and lost by who was only frozen."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ser_core.errors import StoreError
from ser_core.store.objects.file import FileStore
from ser_core.store.runs.run_lock import STALE_SECONDS, UNREADABLE, Holder, Process, RunLock, lock_key

ONE, OTHER = Holder(token="1", host="one"), Holder(token="2", host="other")


@pytest.fixture
def lock(store):
    return RunLock(store, "default", "hh")


def keys(store):
    return [entry.key for entry in store.list("")]


def test_one_holds_it_until_it_is_released(lock, store):
    assert lock.take(ONE) is None
    assert lock.take(OTHER) == ONE
    lock.release(OTHER)
    assert lock.take(OTHER) == ONE
    lock.release(ONE)
    assert lock.take(OTHER) is None
    lock.release(OTHER)
    assert keys(store) == []


def test_a_lost_answer_of_the_first_write_is_no_other_holder(lock):
    assert [lock.take(ONE), lock.take(ONE)] == [None, None]


def test_of_many_one_takes_a_dead_holder_s_lock_over(lock, store):
    lock.take(ONE)
    many = [Holder(token=f"{number}0", host="many") for number in range(1, 9)]
    together = threading.Barrier(len(many))

    def claim(own):
        together.wait()
        return lock.take_over(ONE, own)

    with ThreadPoolExecutor(len(many)) as pool:
        won = [own for own, mine in zip(many, pool.map(claim, many), strict=True) if mine]
    assert len(won) == 1
    assert lock.take(OTHER) == won[0]
    assert keys(store) == ["default/hh/LOCK.json"]


def test_a_holder_that_came_back_is_not_taken_over(lock):
    lock.take(ONE)
    alive = ONE.model_copy(update={"processes": (Process(number=1, started=1),)})
    lock.renew(alive)
    assert not lock.take_over(ONE, OTHER)
    assert lock.take(OTHER) == alive


def test_who_was_only_frozen_learns_at_its_next_beat_who_has_the_lock(lock):
    lock.take(ONE)
    assert lock.renew(ONE) is None
    assert lock.take_over(ONE, OTHER)
    assert lock.renew(ONE) == OTHER
    lock.release(ONE)
    assert lock.renew(OTHER) is None


def test_a_claim_whose_maker_was_killed_is_removed_once_it_is_old(lock, store, monkeypatch):
    lock.take(ONE)
    store.create("default/hh/LOCK-1.json", b"{}")
    assert not lock.take_over(ONE, OTHER)
    assert not lock.take_over(ONE, OTHER)
    monkeypatch.setattr(type(store), "age", lambda *_: STALE_SECONDS + 1)
    assert [lock.take_over(ONE, OTHER), lock.take_over(ONE, OTHER)] == [False, True]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"token": "../../x", "host": "h"}', b"\xff"])
def test_a_lock_that_cannot_be_read_is_held_by_an_unknown_machine(lock, store, content):
    store.put(lock_key("default", "hh"), content)
    assert lock.take(ONE) == UNREADABLE
    assert lock.take_over(UNREADABLE, ONE)


def test_a_lock_that_can_be_neither_read_nor_created_is_not_tried_for_ever(tmp_path):
    (tmp_path / "default" / "hh").mkdir(parents=True)
    (tmp_path / "default" / "hh" / "LOCK.json").symlink_to("nowhere")
    with pytest.raises(StoreError, match=r"LOCK\.json can be neither read nor created"):
        RunLock(FileStore(tmp_path), "default", "hh").take(ONE)


def test_how_long_ago_an_object_was_written_the_store_s_own_clock_tells(lock, store):
    assert lock.silent_seconds() == 0
    lock.take(ONE)
    assert 0 <= lock.silent_seconds() < STALE_SECONDS
