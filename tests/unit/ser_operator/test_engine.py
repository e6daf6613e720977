"""The operator's start, before it watches."""

import asyncio

import pytest
from kubernetes.aio.client.configuration import Configuration

from ser_operator.engine import Engine
from ser_operator.settings import Settings
from ser_operator.transport import ApiError


class Server:
    """Refuses the first LISTs, as an API server does whose CRD was installed a moment ago."""

    def __init__(self, refusals):
        self.refusals, self.lists = refusals, 0

    def tell_requests(self, tell):
        pass

    async def list_runs(self, namespace):
        self.lists += 1
        if self.lists <= self.refusals:
            raise ApiError(429, "storage is (re)initializing", retry_after=0.01)
        return []

    async def list_jobs(self, namespace, selector):
        return []

    list_pods = list_jobs


@pytest.mark.parametrize("refusals", [0, 2])
def test_the_first_list_is_tried_until_it_is_answered(refusals):
    async def start():
        server = Server(refusals)
        return await Engine(server, Configuration(), Settings(image="x"))._prime(asyncio.Event()), server.lists

    assert asyncio.run(start()) == (True, refusals + 1)


def test_an_operator_that_never_saw_anything_can_be_stopped():
    async def start():
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.1, stop.set)
        return await asyncio.wait_for(Engine(Server(10**9), Configuration(), Settings(image="x"))._prime(stop), 10)

    assert asyncio.run(start()) is False
