"""What the operator takes from a stage's pod, which anybody may have built: little, soon, and without following it anywhere."""

import asyncio

import pytest
from addresses import needs_ipv6
from aiohttp import web

from ser_core.loop.observed import Progress
from ser_operator.cluster import progress_polls
from ser_operator.cluster.progress_polls import ProgressPolls


def ask(monkeypatch, answer, address="127.0.0.1", seconds=60):
    async def story():
        application = web.Application()
        application.add_routes([web.get("/progress", answer)])
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, address, 0)
        await site.start()
        monkeypatch.setattr(progress_polls, "PROGRESS_PORT", runner.addresses[0][1])
        monkeypatch.setattr(progress_polls, "PROGRESS_TIMEOUT", seconds)
        try:
            return await progress_polls.read_progress(address)
        finally:
            await runner.cleanup()

    return asyncio.run(story())


def says(text, **headers):
    async def answer(_request):
        return web.Response(text=text, **headers)

    return answer


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_progress_is_read(monkeypatch, address):
    assert ask(monkeypatch, says('{"step": 3, "total": 10, "unit": "pairs"}'), address) == Progress(3, 10, "pairs")


@pytest.mark.parametrize(
    "answer",
    [
        says("no json"),
        says("[1, 2]"),
        says('{"step": "many", "total": 10, "unit": "pairs"}'),
        says('{"step": 3, "total": 10, "unit": "pairs"}', status=302, headers={"Location": "/progress"}),
        says('{"step": 3, "total": 10, "unit": "' + "x" * 5000 + '"}'),
        says("[" * 4000),
        says('{"step": Infinity, "total": 10, "unit": "pairs"}'),
        says('{"step": 1, "total": 1e999, "unit": "pairs"}'),
        says('{"step": 1, "total": 1' + "0" * 3000 + ', "unit": "pairs"}'),
    ],
)
def test_everything_else_counts_as_no_answer(monkeypatch, answer):
    assert ask(monkeypatch, answer) is None


def test_a_pod_that_does_not_answer_is_given_up_soon(monkeypatch):
    async def hang(_request):
        await asyncio.sleep(1)
        return web.Response(text='{"step": 3, "total": 10, "unit": "pairs"}')

    assert ask(monkeypatch, hang, seconds=0.1) is None


def test_a_pod_without_a_server_says_nothing(monkeypatch):
    monkeypatch.setattr(progress_polls, "PROGRESS_PORT", 1)

    assert asyncio.run(progress_polls.read_progress("127.0.0.1")) is None


HH = ("lab", "hh")


def polled(questions, read, pollers=2, seconds=0.2):
    """The polls after a while, and whom they told."""

    async def story():
        told = []
        polls = ProgressPolls(read, told.append)
        tasks = [asyncio.create_task(polls.poll()) for _ in range(pollers)]
        for question in questions:
            polls.ask(*question)
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        return polls, told

    return asyncio.run(story())


def test_a_run_is_told_of_once_its_stage_has_gone_on():
    steps = iter([Progress(1, 9, "pairs"), Progress(1, 9, "pairs"), Progress(2, 9, "pairs"), None])

    async def read(_address):
        return next(steps)

    async def story():
        told = []
        polls = ProgressPolls(read, told.append)
        task = asyncio.create_task(polls.poll())
        for _ in range(4):
            polls.ask(HH, "j", "10.0.0.1")
            await asyncio.sleep(0.01)
        task.cancel()
        return polls.answer("j"), told

    assert asyncio.run(story()) == (Progress(2, 9, "pairs"), [HH, HH])


def test_stages_that_do_not_answer_hold_up_only_the_pollers():
    asked = []

    async def read(address):
        asked.append(address)
        await asyncio.sleep(5 if address == "silent" else 0)
        return Progress(1, 2, "pairs")

    polls, told = polled([(HH, "a", "silent"), (HH, "a", "silent"), (HH, "b", "fine")], read)

    assert (polls.answer("a"), polls.answer("b"), told) == (None, Progress(1, 2, "pairs"), [HH])
    assert asked == ["silent", "fine"], "one question to a stage at a time"


def test_answers_go_with_their_jobs():
    async def read(_address):
        return Progress(1, 2, "pairs")

    polls, _ = polled([(HH, "a", "x"), (HH, "b", "x")], read)
    polls.forget({"b"})

    assert (polls.answer("a"), polls.answer("b")) == (None, Progress(1, 2, "pairs"))


def test_a_reconcile_does_not_wait_for_a_stage_that_does_not_answer(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    (job,) = operator.cluster.jobs.values()
    running = [{"name": "stage", "state": {"running": {"startedAt": "2026-01-31T12:00:00Z"}}}]
    operator.cluster.add_pod(job, phase="Running", podIP="10.0.0.1", containerStatuses=running)
    operator.polls._read = None  # nobody polls, and nobody is waited for
    operator.sync()

    assert operator.reconcile() == 60
    assert operator.polls._questions.qsize() == 1
