"""A resync of several namespaces, of which one is gone."""

import asyncio

import pytest

from ser_operator.cluster.kubernetes_api import Page
from ser_operator.cluster.transport import ApiError
from ser_operator.facts.cache import Cache
from ser_operator.loop.resync import Resync
from ser_operator.pages.telemetry import Telemetry
from ser_operator.settings import Settings


class Server:
    """One run a namespace; ``refused`` says what is answered instead."""

    def __init__(self):
        self.refused = {}

    async def pages(self, kind, namespace, selector=""):
        if namespace in self.refused:
            raise ApiError(self.refused[namespace], "refused")
        metadata = {"name": "hh", "namespace": namespace, "uid": namespace, "resourceVersion": "5"}
        yield Page(9, [{"metadata": metadata}] if kind == "SERRun" else [])


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def cache():
    return Cache()


@pytest.fixture
def resync(server, cache):
    telemetry = Telemetry(lambda: 0, cache.runs, cache.sizes)
    return Resync(server, cache, telemetry, Settings(image="x", namespaces=("a", "b")))


def once(resync):
    changed = set()
    asyncio.run(resync.once(changed))
    return changed


@pytest.mark.parametrize("code", [403, 404])
def test_a_namespace_that_is_refused_leaves_the_others_alone(resync, server, cache, code):
    server.refused = {"a": code}

    assert once(resync) == {("b", "hh")}
    assert b"ser_operator_refused_namespaces 1.0" in resync._telemetry.exposition()

    server.refused = {}
    assert once(resync) == {("a", "hh")}
    assert b"ser_operator_refused_namespaces 0.0" in resync._telemetry.exposition()


def test_its_runs_are_forgotten_when_it_is_refused_twice_in_a_row(resync, server, cache):
    once(resync)
    server.refused = {"a": 403}

    assert once(resync) == set()
    assert cache.run(("a", "hh"))
    assert once(resync) == {("a", "hh")}
    assert cache.run(("a", "hh")) is None
    assert cache.run(("b", "hh"))


def test_what_was_listed_before_a_failure_is_told_for_no_other_list_tells_it_again(resync, server):
    server.refused = {"b": 500}
    changed = set()
    with pytest.raises(ApiError):
        asyncio.run(resync.once(changed))

    assert changed == {("a", "hh")}
    server.refused = {}
    assert once(resync) == {("b", "hh")}


@pytest.mark.parametrize("refused", [{"a": 403, "b": 403}, {"a": 500}])
def test_a_server_that_fails_or_refuses_everything_is_an_error_and_nothing_is_forgotten(resync, server, cache, refused):
    once(resync)
    server.refused = refused

    for _ in range(2):
        with pytest.raises(ApiError):
            once(resync)
    assert len(cache.runs()) == 2
