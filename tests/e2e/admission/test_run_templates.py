"""What a real API server says of SERRunTemplates."""

import pytest

from controlplane.cluster import ApiError
from ser_core.api.serrun import API_VERSION

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
