"""The queue: never the same key twice at once, nothing lost, failing keys held back, others not."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_operator.loop.work_queue import LONGEST_PAUSE, WorkQueue


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_key_added_while_it_runs_runs_again_afterwards():
    async def story():
        queue = WorkQueue(Clock())
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 0.01)
        queue.done("a")
        assert await asyncio.wait_for(queue.get(), 60) == "a"

    asyncio.run(story())


def test_what_is_or_becomes_urgent_goes_first_and_once():
    async def story():
        queue = WorkQueue(Clock())
        for key in "abc":
            queue.add(key)
        assert not queue.hurries
        queue.add("c", urgent=True)
        queue.add("d", urgent=True)
        queue.add("c", urgent=True)
        assert queue.hurries
        assert [await queue.get() for _ in range(4)] == ["c", "d", "a", "b"]
        assert not queue.hurries
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 0.01)

    asyncio.run(story())


def test_what_becomes_urgent_while_it_runs_is_urgent_afterwards():
    async def story():
        queue = WorkQueue(Clock())
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("b")
        queue.add("a")
        queue.add("a", urgent=True)
        queue.done("a")
        assert [await queue.get() for _ in range(2)] == ["a", "b"]

    asyncio.run(story())


def test_of_two_delays_the_shorter_counts_and_an_earlier_run_voids_it():
    async def story():
        clock = Clock()
        queue = WorkQueue(clock)
        queue.add_after("a", 10)
        queue.add_after("a", 5)
        clock.now = 5
        queue.move_due()
        assert await queue.get() == "a"
        queue.done("a")
        clock.now = 60
        queue.move_due()
        assert len(queue) == 0

    asyncio.run(story())


def test_pauses_double_up_to_a_limit_and_end_with_a_success():
    queue = WorkQueue(Clock(), jitter=lambda: 1.0)

    pauses = [queue.retry("a") for _ in range(12)]

    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert pauses[-1] == LONGEST_PAUSE
    queue.succeeded("a")
    assert queue.retry("a") == 0.5
    assert queue.retry("b", at_least=30) == 30


@given(st.lists(st.tuples(st.sampled_from(["add", "delay", "get", "done", "wait"]), st.sampled_from("abc")), max_size=60))
def test_every_added_key_runs_after_its_last_addition_and_never_beside_itself(steps):
    async def story():
        clock = Clock()
        queue = WorkQueue(clock)
        owed, running = set(), set()
        for step, key in steps:
            if step == "add":
                queue.add(key)
                owed.add(key)
            elif step == "delay":
                queue.add_after(key, 3)
                owed.add(key)
            elif step == "wait":
                clock.now += 4
                queue.move_due()
            elif step == "done" and key in running:
                running.discard(key)
                queue.done(key)
            elif step == "get" and owed - running and len(queue) and queue._ready.qsize():
                got = await queue.get()
                assert got not in running
                running.add(got)
                owed.discard(got)
        for key in list(running):
            queue.done(key)
        clock.now += 10
        queue.move_due()
        while queue._ready.qsize():
            owed.discard(await queue.get())
        assert owed == set()

    asyncio.run(story())


def test_the_timer_is_one_task_that_wakes_by_itself_and_when_told():
    """kopf cancels at its end every task that began after it."""

    async def watch():
        queue = WorkQueue()
        before = asyncio.all_tasks()
        timer = asyncio.create_task(queue.run_timer())
        queue.add_after("late", 60)
        await asyncio.sleep(0.01)
        queue.add_after("soon", 0.01)
        assert await queue.get() == "soon"
        assert asyncio.all_tasks() - before == {timer}
        timer.cancel()

    asyncio.run(watch())
