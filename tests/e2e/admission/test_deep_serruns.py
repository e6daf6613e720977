"""A SERRun of nine thousand levels, which the API server takes: it is refused, and no other run hears of it."""

import json
import time

import pytest

from ser_core.api.serrun import API_VERSION
from ser_core.cli.access.cluster import connect_cluster
from ser_core.cli.access.place import Place
from ser_core.errors import SpecError

LEVELS = 9000


def text(name, spec):
    """The SERRun as JSON, whose podTemplate is too deep for a program that walks through it."""
    before, after = f'{{"apiVersion": "{API_VERSION}", "kind": "SERRun", "metadata": {{"name": "{name}"}}, "spec": {{', "}}"
    deep = '{"a":' * LEVELS + "1" + "}" * LEVELS
    return f'{before}{spec}, "podTemplate": {{"affinity": {deep}}}{after}'


SPEC = '"rewardModel": {"base": "hf://a/b"}, "data": {"source": {"uri": "hf://a/b"}}, "storage": {"uri": "s3://bucket/runs"}'


@pytest.fixture
def deep(control_plane):
    """Creates the run in a scenario's namespace; it goes again, since the clients of other tests could read no LIST with it."""
    made = []

    def create(scenario):
        control_plane.kubectl("create", "--validate=false", "-n", scenario.namespace, "-f", "-", input=text("deep", SPEC))
        made.append(scenario.namespace)

    yield create
    for namespace in made:
        control_plane.kubectl("delete", "serrun", "deep", "-n", namespace)


def test_a_run_too_deep_to_be_read_fails_alone(place, deep, tmp_path, monkeypatch):
    with place.scenario(tmp_path) as scenario:
        scenario.operator.start()
        deep(scenario)
        scenario.apply()
        assert scenario.wait_for_end()["phase"] == "Completed"

        asked = ("get", "serrun", "deep", "-n", scenario.namespace, "-o", "jsonpath={.status.phase}: {.status.message}")
        deadline = time.monotonic() + 120
        while (said := scenario.plane.kubectl(*asked).stdout) == ": ":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert said == "Failed: spec.podTemplate.affinity: is nested more than 32 levels deep: no object of Kubernetes is"
        assert scenario.operator.defects() == []

        monkeypatch.setattr(json, "_default_decoder", json._default_decoder)  # the command line puts its own in the place
        cluster = connect_cluster(Place(kubeconfig=scenario.plane.kubeconfig(), namespace=scenario.namespace))
        assert sorted(cluster.run_names()) == ["deep", scenario.namespace]
        with pytest.raises(SpecError, match="nested more than 32 levels"):
            cluster.run("deep")
