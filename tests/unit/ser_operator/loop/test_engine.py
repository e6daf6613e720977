"""The operator's start, before it watches."""

import asyncio

import pytest
from kubernetes.aio.client.configuration import Configuration

from ser_operator.cluster.kubernetes_api import Page
from ser_operator.cluster.transport import ApiError
from ser_operator.loop.engine import Engine
from ser_operator.pages.probes import Heartbeat
from ser_operator.settings import Settings


class Server:
    """Refuses the first LISTs of ``kind``, as an API server does whose CRD was installed a moment ago. It lists ``runs``."""

    def __init__(self, refusals, runs=(), kind="SERRun"):
        self.refusals, self.runs, self.kind, self.lists = refusals, runs, kind, 0

    def tell_requests(self, tell):
        pass

    async def pages(self, kind, namespace, selector=""):
        self.lists += kind == self.kind
        if kind == self.kind and self.lists <= self.refusals:
            raise ApiError(429, "storage is (re)initializing", retry_after=0.01)
        yield Page(9, self.runs if kind == "SERRun" else [])


@pytest.mark.parametrize("refusals", [0, 2])
def test_the_first_list_is_tried_until_it_is_answered(refusals):
    async def start():
        server = Server(refusals)
        return await Engine(server, Configuration(), Settings(image="x"))._prime(asyncio.Event()), server.lists

    assert asyncio.run(start()) == (True, refusals + 1)


def run(name, **status):
    metadata = {"name": name, "namespace": "lab", "uid": name, "resourceVersion": "5", "generation": 2}
    return {"metadata": metadata, "status": {"observedGeneration": 2, **status}}


@pytest.mark.parametrize("kind", ["Job", "Pod"])
def test_a_run_that_was_listed_before_the_first_list_failed_is_looked_at(kind):
    async def start():
        engine = Engine(Server(1, [run("live", phase="Running")], kind), Configuration(), Settings(image="x"))
        await engine._prime(asyncio.Event())
        return len(engine._queue)

    assert asyncio.run(start()) == 1


def test_after_a_start_runs_that_have_ended_are_left_alone():
    over = run("over", phase="Completed", finishedAt="2026-01-31T12:00:00Z")

    async def start():
        engine = Engine(Server(0, [over, run("live", phase="Running")]), Configuration(), Settings(image="x"))
        await engine._prime(asyncio.Event())
        return [await engine._queue.get() for _ in range(len(engine._queue))], engine._cache.sizes()["SERRun"]

    assert asyncio.run(start()) == ([("lab", "live")], 2)


def test_after_a_start_a_run_whose_spec_could_not_be_read_is_looked_at_once():
    failed = {"type": "Failed", "status": "True", "reason": "InvalidSpec"}
    over = run("over", phase="Failed", finishedAt="2026-01-31T12:00:00Z", conditions=[failed])

    async def start():
        engine = Engine(Server(0, [over]), Configuration(), Settings(image="x"))
        await engine._prime(asyncio.Event())
        queued = [await engine._queue.get() for _ in range(len(engine._queue))]
        for key in queued:
            engine._queue.done(key)
        await engine._list_everything()
        return queued, len(engine._queue)

    assert asyncio.run(start()) == ([("lab", "over")], 0)


def test_an_operator_that_never_saw_anything_can_be_stopped():
    async def start():
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.1, stop.set)
        return await asyncio.wait_for(Engine(Server(10**9), Configuration(), Settings(image="x"))._prime(stop), 60)

    assert asyncio.run(start()) is False


def test_the_event_loop_is_not_stuck_while_the_first_list_is_refused(monkeypatch):
    beats = []

    async def beat(heartbeat):
        beats.append(heartbeat)

    monkeypatch.setattr(Heartbeat, "beat", beat)

    async def start():
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.1, stop.set)
        await asyncio.wait_for(Engine(Server(10**9), Configuration(), Settings(image="x", probe_port=0)).run(stop), 60)

    asyncio.run(start())
    assert len(beats) == 1


def test_between_two_looks_that_wait_for_nothing_others_have_their_turn():
    async def story():
        engine = Engine(Server(0), Configuration(), Settings(image="x"))
        for number in range(50):
            engine._queue.add(("lab", str(number)))
        worker = asyncio.create_task(engine._work())
        lengths = set()
        while left := len(engine._queue):
            lengths.add(left)
            await asyncio.sleep(0)
        worker.cancel()
        return lengths

    assert len(asyncio.run(story())) == 50
