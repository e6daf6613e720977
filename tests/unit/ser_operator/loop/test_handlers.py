"""How kopf is told to reach the API server."""

import itertools

import pytest
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from ser_operator.loop.handlers import connection, kopf_settings
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


def test_a_watch_is_tried_for_ever_at_most_once_a_minute():
    pauses = kopf_settings(Settings(image="x")).networking.error_backoffs

    assert [max(itertools.islice(pauses, number)) for number in (1, 6, 1000)] == [1, 30, 60], "each request begins anew"
