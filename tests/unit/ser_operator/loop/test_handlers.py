"""How kopf is told to reach the API server."""

import asyncio
import itertools

import kopf
import pytest
from kopf._core.engines.indexing import OperatorIndexers
from kopf._core.reactor import processing
from kopf._core.reactor.inventory import ResourceMemories
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from ser_operator.facts.cache import Cache
from ser_operator.loop.handlers import build_registry, connection, kopf_settings
from ser_operator.loop.work_queue import WorkQueue
from ser_operator.pages.telemetry import Telemetry
from ser_operator.settings import Settings


@pytest.mark.parametrize("key", ["Bearer abc", "bearer abc", "abc"])
def test_a_token_is_taken_without_its_scheme(key):
    assert connection(Configuration(host="https://cluster", api_key={"BearerToken": key})).token == "abc"


def test_the_token_of_a_pod_is_taken_and_read_again(tmp_path):
    token, certificate = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    certificate.write_text("certificate")
    environment = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    configuration = Configuration()
    loader = InClusterConfigLoader(token_filename=str(token), cert_filename=str(certificate), environ=environment)
    loader.load_and_set(configuration)
    assert connection(configuration).token == "first"

    token.write_text("second")
    loader.token_expires_at -= loader._token_refresh_period

    assert connection(configuration).token == "second"
    assert connection(configuration).server == "https://10.96.0.1:443"


def test_watches_take_the_proxy_of_the_kubeconfig():
    behind = Configuration(host="https://cluster")
    behind.proxy = "http://proxy:3128"

    assert connection(behind).proxy_url == "http://proxy:3128"


def test_a_watch_is_tried_for_ever_at_most_once_a_minute():
    pauses = kopf_settings(Settings(image="x")).networking.error_backoffs

    assert [max(itertools.islice(pauses, number)) for number in (1, 6, 1000)] == [1, 30, 60], "each request begins anew"


def test_a_run_that_bears_the_mark_of_kopf_is_not_written_to(monkeypatch):
    """kopf takes its own finalizer away. The operator has no right to, and kopf then rests for minutes from what happens to the run."""
    written, cache, queue = [], Cache(), WorkQueue()
    run = {"metadata": {"name": "hh", "namespace": "lab", "uid": "u", "finalizers": ["kopf.zalando.org/KopfFinalizerMarker"]}}

    async def record(*, patch, **_):
        written.extend([patch] if patch else [])
        return True, None, None

    monkeypatch.setattr(processing.application, "apply", record)
    asyncio.run(
        processing.process_resource_event(
            lifecycle=kopf.lifecycles.all_at_once,
            indexers=OperatorIndexers(),
            registry=build_registry(cache, queue, Telemetry(int, list, dict), Configuration()),
            settings=kopf_settings(Settings(image="x")),
            memories=ResourceMemories(),
            memobase=kopf.Memo(),
            resource=kopf.Resource("ser.dev", "v1alpha1", "serruns", namespaced=True),
            raw_event={"type": "ADDED", "object": run},
            event_queue=asyncio.Queue(),
        )
    )
    assert written == []
