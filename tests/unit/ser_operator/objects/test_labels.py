"""By which labels the watches find the children of runs."""

import pytest

from ser_operator.objects.labels import are_selected, selector

OURS = {"app.kubernetes.io/managed-by": "ser-operator"}


@pytest.mark.parametrize(
    ("operator_class", "wanted"),
    [
        ("", "app.kubernetes.io/managed-by=ser-operator,!ser.dev/operator-class"),
        ("blue", "app.kubernetes.io/managed-by=ser-operator,ser.dev/operator-class=blue"),
    ],
)
def test_the_children_of_another_class_are_left_out_by_the_server(operator_class, wanted):
    assert selector(operator_class) == wanted
    assert are_selected(OURS | ({"ser.dev/operator-class": operator_class} if operator_class else {}), operator_class)
    assert not are_selected(OURS | {"ser.dev/operator-class": "green"}, operator_class)
    assert not are_selected({}, operator_class)


def test_what_belongs_to_a_run_bears_its_class(make_operator):
    operator = make_operator(operator_class="blue")
    operator.cluster.apply(spec={"operatorClass": "blue"})
    operator.sync()
    operator.reconcile()

    (job,) = operator.cluster.jobs.values()
    assert are_selected(job["metadata"]["labels"], "blue")
    assert are_selected(job["spec"]["template"]["metadata"]["labels"], "blue")


def test_a_job_that_has_lost_its_class_is_looked_at_live(make_operator):
    operator = make_operator(operator_class="blue")
    operator.cluster.apply(spec={"operatorClass": "blue"})
    operator.sync()
    operator.reconcile()
    (job,) = operator.cluster.jobs.values()
    del job["metadata"]["labels"]["ser.dev/operator-class"]
    operator.cluster.stamp(job)
    operator.sync()
    operator.finish_stage(job)

    operator.reconcile()

    assert operator.status.stages[0].outcome == "Done"
