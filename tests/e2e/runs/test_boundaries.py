"""What one operator does is not another's, nor one namespace's end another's."""

import contextlib
import time
import urllib.request

import pytest

from controlplane.faults.home import Home
from controlplane.faults.plans.plan import eventually
from controlplane.faults.scenario import ROOT, Scenario
from controlplane.plane.api_client import ApiError


def watch_from(home: Scenario, other: Scenario) -> None:
    """Let the operator of one namespace work in another, as the chart does for each of watchNamespaces."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "ser-operator-elsewhere"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "ser-operator"},
        "subjects": [{"kind": "ServiceAccount", "name": "ser-operator", "namespace": home.namespace}],
    }
    other.api.create(other.collection("rolebindings", "apis/rbac.authorization.k8s.io/v1"), binding)


def make(scenario: Scenario) -> None:
    """The namespace, again, with its Role."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scenario.namespace}}
    scenario.api.create("/api/v1/namespaces", body)
    scenario.plane.kubectl("apply", "--namespace", scenario.namespace, "-f", str(ROOT / "operator" / "rbac.yaml"))


def page(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as answer:
        return str(answer.read().decode())


def test_a_watched_namespace_that_is_deleted_stops_nothing(place: Home, tmp_path):
    with place.scenario(tmp_path / "stays") as stays, place.scenario(tmp_path / "goes") as goes:
        watch_from(stays, goes)
        both = f"{stays.namespace},{goes.namespace}"
        with stays.another_operator(namespaces=both, resync_seconds=1) as (proxy, operator):
            operator.start()
            goes.apply()
            goes.wait_for_end()
            goes.api.delete(f"/api/v1/namespaces/{goes.namespace}")
            eventually(lambda: goes.api.find(f"/api/v1/namespaces/{goes.namespace}") is None, 120, "the namespace is gone")
            proxy.cut()  # so that every watch begins anew, and is refused where the Role is gone
            proxy.heal()
            eventually(lambda: "ser_operator_refused_namespaces 1.0" in operator.page("/metrics"), 120, "it is told that one is refused")

            stays.apply(resources={"label": {"cpu": "1"}})
            stays.wait(lambda status: status.get("stage") == "retrain")
            operator.kill()
            operator.start()  # a new process begins without it, too
            stays.wait_for_end()
            assert operator.running
            assert f'run="{goes.namespace}"' not in operator.page("/metrics")

            make(goes)
            watch_from(stays, goes)
            goes.apply()
            goes.wait_for_end(180)
            assert operator.running
            assert operator.starts == 2


def test_operators_of_different_classes_share_a_namespace(place: Home, tmp_path):
    with place.scenario(tmp_path / "shared") as shared, shared.another_operator(operator_class="blue") as (proxy, blue):
        blue.start()
        address = blue.address()
        shared.apply(operatorClass="blue")
        shared.wait_for_end()
        shared.check()
        with contextlib.ExitStack() as held:
            shared.operator.start()  # of no class, over the same log
            eventually(lambda: shared.operator.address() != address, 120, "it serves its pages")
            time.sleep(3)
            held.callback(shared.operator.kill)
            plain = page(shared.operator.address())
        assert "ser_operator_runs{" not in plain
        assert shared.proxy.writes() == []
        assert 'ser_operator_cached_objects{kind="Job"} 0.0' in plain
        assert 'ser_operator_runs{phase="Completed"} 1.0' in page(address)
        assert len(proxy.writes()) > 0

        with pytest.raises(ApiError, match="operatorClass"):
            shared.patch({"spec": {"operatorClass": ""}})


def test_when_its_time_is_over_nothing_is_left_of_a_run_but_itself(place: Home, tmp_path):
    with place.scenario(tmp_path / "over") as scenario:
        scenario.operator.start()
        scenario.apply(ttlAfterFinished="1s")
        scenario.wait_for_end()

        eventually(lambda: not scenario.jobs() and not scenario.api.items(scenario.collection("pods")), 120, "Jobs and pods are gone")

        assert scenario.status()["phase"] == "Completed"
        assert scenario.operator.defects() == []
