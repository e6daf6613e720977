"""A run that names a SERRunTemplate: it starts with a copy, keeps it, and is judged with what is in it."""

import pytest
from unit.ser_operator.facts.serruns.test_pod_template_asks import nested

from ser_core.api.status import Phase
from ser_core.errors import SpecError
from ser_operator.cluster.transport import ApiError
from ser_operator.facts.serruns.template_copy import with_copy

NAMED = {"templateRef": {"name": "team"}}


def template(**spec):
    return {"apiVersion": "ser.dev/v1alpha1", "kind": "SERRunTemplate", "metadata": {"name": "team", "namespace": "lab"}, "spec": spec}


def test_a_missing_template_is_named_until_it_is_there(operator):
    operator.cluster.apply(spec=NAMED)
    operator.sync()

    again = operator.reconcile()

    assert operator.status.phase is Phase.WAITING and operator.condition("Ready").reason == "TemplateUnusable"
    assert "namespace lab holds none of that name: create it there" in operator.status.message
    assert operator.cluster.creates == [] and again == 30
    operator.cluster.templates["lab", "team"] = template(retries={"limit": 2})
    operator.drive()
    assert operator.status.phase is Phase.COMPLETED
    assert operator.status.template.spec == {"retries": {"limit": 2}}


def test_a_template_of_another_namespace_is_none(operator):
    operator.cluster.templates["other", "team"] = template()
    operator.cluster.apply(spec=NAMED)
    operator.sync()

    operator.reconcile()

    assert operator.condition("Ready").reason == "TemplateUnusable"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (template(podTemplate={"labels": {"long": "x" * 9000}}), "shorten it to 8192 bytes"),
        (ApiError(403, "forbidden"), "may not read SERRunTemplates: update its role"),
    ],
)
def test_a_template_that_cannot_be_used_is_told_with_a_remedy(operator, found, told):
    operator.cluster.templates["lab", "team"] = found
    operator.cluster.apply(spec=NAMED)
    operator.sync()

    operator.reconcile()

    assert told in operator.status.message and operator.cluster.creates == []


def test_a_template_that_is_nested_too_deep_is_told_too():
    with pytest.raises(SpecError, match="is nested too deep"):
        with_copy({}, "team", template(podTemplate={"affinity": nested(5000)}))


def test_the_copy_is_written_before_the_first_job(operator):
    operator.cluster.templates["lab", "team"] = template(resources={"prepare": {"cpu": "3"}})
    operator.cluster.apply(spec=NAMED)
    operator.sync()

    operator.reconcile()

    assert operator.cluster.writes[:2] == ["status", "job"]
    (job,) = operator.cluster.jobs.values()
    assert job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "3"


def test_a_change_of_the_template_changes_no_run_in_flight(operator):
    operator.cluster.templates["lab", "team"] = template(resources={"prepare": {"cpu": "3"}, "retrain": {"cpu": "3"}})
    operator.cluster.apply(spec=NAMED)
    operator.sync()
    operator.reconcile()

    operator.cluster.templates["lab", "team"] = template(resources={"retrain": {"cpu": "7"}})
    operator.drive()

    limits = [job["spec"]["template"]["spec"]["containers"][0]["resources"].get("limits", {}) for job in operator.cluster.jobs.values()]
    assert {one["cpu"] for one in limits if "cpu" in one} == {"3"}


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_crash_around_the_copy_repeats_nothing(operator, number, side):
    operator.cluster.templates["lab", "team"] = template(resources={"retrain": {"cpu": "3"}})
    operator.cluster.apply(spec=NAMED)

    operator.drive_through_a_crash(number, side)

    assert operator.status.phase is Phase.COMPLETED
    assert len(operator.cluster.creates) == len(set(operator.cluster.creates)) == len(operator.executed) == 5


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"storage": {"credentialsSecret": "admin"}}, "storage.credentialsSecret 'admin' is not allowed (allow.secrets"),
        ({"resources": {"ppo": {"priorityClassName": "system-node-critical"}}}, "resources.ppo.priorityClassName"),
        ({"podTemplate": {"env": [{"name": "PROXY", "value": "x"}]}}, "podTemplate.env"),
        ({"hub": {"endpoint": "https://evil.example", "credentialsSecret": "hub"}}, "hub.endpoint"),
        ({"resources": {"retrain": {"nodes": 64, "gpus": 16}}}, "resources.retrain"),
    ],
)
def test_what_a_template_asks_for_is_judged_like_what_the_run_asks_for(make_operator, spec, named):
    outcomes = []
    for through in (NAMED, spec):
        operator = make_operator(allow={"secrets": ["ser-*", "hub"], "gpus": 64})
        operator.cluster.templates["lab", "team"] = template(**spec)
        storage = {"storage": {"uri": "s3://bucket/runs", **through.get("storage", {})}}
        operator.cluster.apply(spec={**through, **storage})
        operator.drive()
        outcomes.append((operator.status.phase, operator.condition("Failed").reason, operator.status.message))
        assert operator.cluster.creates == []

    assert outcomes[0] == outcomes[1] and outcomes[0][:2] == (Phase.FAILED, "NotAllowed")
    assert named in outcomes[0][2]


def test_a_merged_spec_that_is_wrong_fails_naming_the_field(operator):
    operator.cluster.templates["lab", "team"] = template(storage={"caBundleFrom": {"secret": "a"}})
    operator.cluster.apply(spec={**NAMED, "storage": {"uri": "s3://bucket/runs", "caBundleFrom": {"configMap": "b"}}})

    operator.drive()

    assert operator.condition("Failed").reason == "InvalidSpec"
    assert "spec.storage.caBundleFrom: give either secret or configMap" in operator.status.message


def misread(operator):
    """A run that has failed before it began, since its template does not fit it."""
    operator.cluster.templates["lab", "team"] = template(storage={"caBundleFrom": {"secret": "a"}})
    operator.cluster.apply(spec={**NAMED, "storage": {"uri": "s3://bucket/runs", "caBundleFrom": {"configMap": "b"}}})
    operator.drive()


def retry(operator):
    run = operator.cluster.runs["lab", "climb"]
    run["spec"]["reopen"] = run["spec"].get("reopen", 0) + 1
    run["metadata"]["generation"] += 1
    operator.cluster.stamp(run)
    operator.sync()
    operator.reconcile()


def test_a_run_that_failed_for_its_template_goes_on_with_the_corrected_one(operator):
    misread(operator)
    operator.cluster.templates["lab", "team"] = template(retries={"limit": 2})

    retry(operator)

    assert operator.drive().status.phase is Phase.COMPLETED
    assert operator.status.template.spec == {"retries": {"limit": 2}}


def test_a_template_that_is_still_wrong_fails_the_run_again_with_its_words_of_now(operator):
    misread(operator)
    operator.cluster.templates["lab", "team"] = template(queueName="No Name")

    retry(operator)
    writes = len(operator.cluster.writes)
    operator.sync()
    operator.reconcile()

    assert operator.status.phase is Phase.FAILED and "spec.queueName" in operator.status.message
    assert operator.status.observed_generation == 2
    assert len(operator.cluster.writes) == writes


def test_a_run_that_failed_for_a_template_that_is_gone_waits_for_it(operator):
    misread(operator)
    gone = operator.cluster.templates.pop(("lab", "team"))

    retry(operator)
    operator.sync()
    operator.reconcile()

    assert (operator.status.phase, operator.condition("Ready").reason) == (Phase.WAITING, "TemplateUnusable")
    operator.cluster.templates["lab", "team"] = {**gone, "spec": {}}
    assert operator.drive().status.phase is Phase.COMPLETED


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_crash_around_the_second_copy_repeats_nothing(operator, number, side):
    misread(operator)
    operator.cluster.templates["lab", "team"] = template()
    run = operator.cluster.runs["lab", "climb"]
    run["spec"]["reopen"] = 1
    run["metadata"]["generation"] += 1
    operator.cluster.stamp(run)

    operator.drive_through_a_crash(len(operator.cluster.writes) + number, side)

    assert operator.status.phase is Phase.COMPLETED
    assert len(operator.cluster.creates) == len(set(operator.cluster.creates)) == 5


def test_a_lost_status_keeps_the_copy(operator):
    operator.cluster.templates["lab", "team"] = template(resources={"retrain": {"cpu": "3"}})
    operator.cluster.apply(spec=NAMED)
    operator.sync()
    operator.reconcile()
    operator.cluster.templates["lab", "team"] = template(resources={"retrain": {"cpu": "7"}})
    run = operator.cluster.runs["lab", "climb"]
    run["status"]["stages"] = "no list"
    operator.cluster.stamp(run)

    operator.drive()

    assert operator.status.phase is Phase.COMPLETED
    assert operator.status.template.spec == {"resources": {"retrain": {"cpu": "3"}}}


def test_a_copy_that_somebody_removes_is_made_again(operator):
    operator.cluster.templates["lab", "team"] = template(resources={"retrain": {"cpu": "3"}})
    operator.cluster.apply(spec=NAMED)
    operator.sync()
    operator.reconcile()
    run = operator.cluster.runs["lab", "climb"]
    del run["status"]["template"]
    operator.cluster.stamp(run)

    operator.drive()

    assert operator.status.phase is Phase.COMPLETED
    assert operator.status.template.spec == {"resources": {"retrain": {"cpu": "3"}}}


def test_a_run_without_a_template_reads_none(operator):
    operator.cluster.templates["lab", "team"] = ApiError(500, "nobody asks for it")
    operator.cluster.apply()

    operator.drive()

    assert operator.status.phase is Phase.COMPLETED and operator.status.template is None
