"""What is kept of an object is little, and enough."""

import copy
import json
from datetime import timedelta

import pytest

from ser_operator.facts.kept import kept


@pytest.mark.parametrize("kind", ["SERRun", "Job", "Pod"])
@pytest.mark.parametrize(
    "thing", [{}, {"metadata": None}, {"spec": "x"}, {"spec": {"template": []}}, {"spec": {"containers": ["x"], "template": {"spec": 7}}}]
)
def test_odd_objects_are_cut_without_an_error_and_twice_is_once(kind, thing):
    assert kept(kind, kept(kind, thing)) == kept(kind, thing)


def test_who_wrote_which_field_and_kubectls_copy_are_left_out():
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "{…}", "team": "nlp"}
    run = {"metadata": {"name": "hh", "managedFields": [1], "annotations": applied}, "spec": {"suspend": True}}

    assert kept("SERRun", run) == {"metadata": {"name": "hh", "annotations": {"team": "nlp"}}, "spec": {"suspend": True}}


def test_of_a_job_and_its_pod_a_fraction_is_kept(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    (job,) = operator.cluster.jobs.values()

    assert len(json.dumps(kept("Job", job))) < len(json.dumps(job)) / 2
    pod = {**operator.cluster.add_pod(job), "spec": {**job["spec"]["template"]["spec"], "nodeName": "n1"}}
    assert kept("Pod", pod)["spec"] == {
        "nodeName": "n1",
        "containers": [{"name": "stage", "image": "registry.example/ser:1", "resources": {}}],
    }


def test_a_run_goes_its_way_on_what_is_kept(make_operator, monkeypatch):
    """The API server's answers are cut like the cache: if a reader missed a field, it would decide otherwise."""
    whole, cut = make_operator(), make_operator()

    async def get_job(_namespace, name):
        return kept("Job", copy.deepcopy(cut.cluster.jobs[name])) if name in cut.cluster.jobs else None

    async def list_pods(_namespace, _selector):
        return [kept("Pod", pod) for pod in copy.deepcopy(list(cut.cluster.pods.values()))]

    monkeypatch.setattr(cut.cluster, "get_job", get_job)
    monkeypatch.setattr(cut.cluster, "list_pods", list_pods)
    for operator in (whole, cut):
        operator.cluster.apply(spec={"ttlAfterFinished": "1h"})
        operator.drive()
        operator.cluster.now += timedelta(hours=2)
        operator.sync()
        operator.reconcile()

    assert whole.cluster.writes == cut.cluster.writes
    assert whole.status == cut.status
