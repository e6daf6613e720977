"""What the operator takes from a stage's pod, which anybody may have built: little, soon, and without following it anywhere."""

import asyncio

import pytest
from aiohttp import web

from ser_core.loop.observed import Progress
from ser_operator.cluster import glances


def ask(monkeypatch, answer):
    async def story():
        application = web.Application()
        application.add_routes([web.get("/progress", answer)])
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        monkeypatch.setattr(glances, "PROGRESS_PORT", runner.addresses[0][1])
        try:
            return await asyncio.wait_for(glances.read_progress("127.0.0.1"), 5)
        finally:
            await runner.cleanup()

    return asyncio.run(story())


def says(text, **headers):
    async def answer(_request):
        return web.Response(text=text, **headers)

    return answer


def test_progress_is_read(monkeypatch):
    assert ask(monkeypatch, says('{"step": 3, "total": 10, "unit": "pairs"}')) == Progress(3, 10, "pairs")


@pytest.mark.parametrize(
    "answer",
    [
        says("no json"),
        says("[1, 2]"),
        says('{"step": "many", "total": 10, "unit": "pairs"}'),
        says('{"step": 3, "total": 10, "unit": "pairs"}', status=302, headers={"Location": "/progress"}),
        says('{"step": 3, "total": 10, "unit": "' + "x" * 5000 + '"}'),
        says("[" * 4000),
    ],
)
def test_everything_else_counts_as_no_answer(monkeypatch, answer):
    assert ask(monkeypatch, answer) is None


def test_a_pod_that_does_not_answer_is_given_up_soon(monkeypatch):
    async def hang(_request):
        await asyncio.sleep(4)

    monkeypatch.setattr(glances, "PROGRESS_TIMEOUT", 0.1)

    assert ask(monkeypatch, hang) is None


def test_a_pod_without_a_server_says_nothing(monkeypatch):
    monkeypatch.setattr(glances, "PROGRESS_PORT", 1)

    assert asyncio.run(glances.read_progress("127.0.0.1")) is None
