"""SERRunTemplates on a real control plane: what admission says of them, and the copy that a run begins with."""

import pytest

from controlplane.cluster import ApiError
from ser_core.api.serrun import API_VERSION

NAMED = {"templateRef": {"name": "team"}}
WRONG = {
    "an amount": ({"resources": {"retrain": {"gpus": 99}}}, "spec.resources.retrain.gpus"),
    "a name": ({"queueName": "UPPER"}, "spec.queueName"),
    "two of which one is wanted": ({"storage": {"caBundleFrom": {"secret": "a", "configMap": "b"}}}, "give either secret or configMap"),
    "a toleration": ({"resources": {"label": {"tolerations": [{"operator": "Equal"}]}}}, "operator Equal needs a key"),
}


def collection(namespace):
    """Path of the SERRunTemplates of a namespace."""
    return f"/apis/{API_VERSION}/namespaces/{namespace}/serruntemplates"


def template(spec):
    return {"apiVersion": API_VERSION, "kind": "SERRunTemplate", "metadata": {"name": "team"}, "spec": spec}


@pytest.mark.parametrize(("spec", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_template_is_refused_in_the_words_of_a_wrong_run(control_plane, crd, spec, told):
    with pytest.raises(ApiError) as caught:
        control_plane.api().create(f"{collection('default')}?dryRun=All", template(spec))
    assert told in str(caught.value)


def test_nothing_is_written_into_a_template(control_plane, namespace, crd):
    spec = {"resources": {"retrain": {"gpus": 1}}, "storage": {"region": "eu"}, "hub": {}}
    made = control_plane.api().create(collection(namespace), template(spec))
    assert made["spec"] == spec


def test_a_run_waits_for_its_template_and_keeps_the_copy_that_it_began_with(place, tmp_path):
    with place.scenario(tmp_path) as scenario:
        path, memory = collection(scenario.namespace), {"resources": {"retrain": {"memory": "64Mi"}}}
        scenario.operator.start()
        scenario.apply(**NAMED)
        waiting = scenario.wait(lambda status: any(one["reason"] == "TemplateUnusable" for one in status.get("conditions", ())))
        assert f"namespace {scenario.namespace} holds none of that name" in waiting["message"]
        assert scenario.jobs() == []

        with scenario.hold("retrain"):
            scenario.api.create(path, template(memory))
            scenario.wait(lambda status: status.get("stage") == "retrain")
            scenario.api.patch(f"{path}/team", {"spec": {"resources": {"retrain": {"memory": "65Mi"}}}})
        status = scenario.wait_for_end()

        scenario.check()
        assert status["template"] == {"name": "team", "spec": memory}
        trained = [job for job in scenario.jobs() if job["spec"]["template"]["metadata"]["labels"]["ser.dev/stage"] == "retrain"]
        asked = [job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] for job in trained]
        assert asked == ["64Mi", "64Mi"]
