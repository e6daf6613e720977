"""What `helm test` says of an installation."""

import asyncio

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from ser_operator.cluster.transport import Transport
from ser_operator.installed import faults, look

SERVED = {"resources": [{"name": "serruns"}, {"name": "serruns/status"}]}


def pod(phase="Running", ready="True"):
    return {"metadata": {"name": "ser-operator-1"}, "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}}


def test_an_installation_that_works_has_no_faults():
    assert faults(SERVED, [pod(ready="False"), pod()]) == []


@pytest.mark.parametrize(
    ("resources", "pods", "said"),
    [
        ({}, [pod()], "serves no serruns"),
        (SERVED, [], "it has none"),
        (SERVED, [pod(ready="False")], "ser-operator-1 is Running"),
        (SERVED, [{"metadata": {"name": "ser-operator-1"}}], "ser-operator-1 is None"),
    ],
)
def test_each_fault_is_told(resources, pods, said):
    (fault,) = faults(resources, pods)

    assert said in fault


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (404, 1)])
def test_it_asks_for_the_kind_and_for_the_pods_of_the_release(status, expected):
    asked = []

    async def answer(request):
        asked.append((request.path, request.query.get("labelSelector")))
        if request.path == "/apis/ser.dev/v1alpha1":
            return web.json_response(SERVED, status=status)
        return web.json_response({"items": [pod()]})

    async def ask():
        application = web.Application()
        application.router.add_route("GET", "/{path:.*}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        transport = Transport(Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}"), 5)
        try:
            return await look(transport, "ser-system", "mine")
        finally:
            await transport.close()
            await runner.cleanup()

    assert len(asyncio.run(ask())) == expected
    assert asked[1] == ("/api/v1/namespaces/ser-system/pods", "app.kubernetes.io/name=ser-operator,app.kubernetes.io/instance=mine")
