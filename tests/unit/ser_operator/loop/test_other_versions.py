"""Runs that another version of the operator has had, before an upgrade or after a rollback."""

import copy

import pytest

from ser_core.api.status import Outcome
from ser_operator.facts.serruns.read_run import read_run

STATUS = {"tally": {"wins": 3}, "phase": "Resting"}


def rolled_back_at(operator, stage, **changes):
    """The run stands in ``stage``, and a later version has had it since."""
    operator.cluster.apply()
    for _ in range(20):
        operator.sync()
        operator.reconcile()
        operator.sync()
        if operator.status.stage == stage:
            break
        for job in operator.cluster.live_jobs():
            operator.finish_stage(job)
    run = operator.cluster.runs["lab", "climb"]
    for part, change in changes.items():
        run[part] |= change
    operator.cluster.stamp(run)
    operator.start_operator()
    operator.reconcile()
    return run


def test_a_run_of_a_later_version_goes_on_and_keeps_what_that_has_written(operator):
    run = rolled_back_at(operator, "label", status=STATUS)
    run["status"]["stages"][0]["key"] = "k"
    run["status"]["conditions"].append({"type": "Judged", "status": "True", "reason": "Fine"})
    operator.cluster.stamp(run)

    operator.drive()

    assert len(operator.executed) == 5
    assert run["status"]["tally"] == {"wins": 3}
    assert run["status"]["stages"][0]["key"] == "k"
    assert "Judged" in [one["type"] for one in run["status"]["conditions"]]


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"judge": {"model": "x"}}, "spec.judge"),
        ({"training": {"curriculum": 1}}, "spec.training.curriculum"),
        ({"loop": {"rule": "oracle"}}, "spec.loop.rule"),
    ],
)
def test_a_field_that_only_a_later_version_knows_holds_the_run_until_that_is_back(operator, spec, named):
    run = rolled_back_at(operator, "label")
    before, known = copy.deepcopy(run["status"]), copy.deepcopy(run["spec"])
    run["spec"] |= spec
    operator.cluster.stamp(run)
    operator.start_operator()
    jobs = list(operator.cluster.jobs)
    for _ in range(3):
        for job in operator.cluster.live_jobs():
            operator.finish_stage(job)
        operator.sync()
        operator.reconcile()

    assert operator.condition("Stalled").reason == "SpecUnknownField"
    assert named in run["status"]["message"]
    assert run["status"]["phase"] == "Waiting"
    changed = {name for name in {*before, *run["status"]} if before.get(name) != run["status"].get(name)}
    assert changed == {"phase", "message", "conditions", "waitingSince"}
    assert list(operator.cluster.jobs) == jobs
    assert operator.cluster.writes[-1] == "status"
    assert operator.cluster.writes.count("delete") == 0

    run["spec"] = known
    operator.cluster.stamp(run)
    operator.drive()
    assert operator.status.phase == "Completed"
    assert len(operator.executed) == 5


def test_a_run_that_has_begun_is_not_ended_by_bounds_of_another_version(operator):
    run = rolled_back_at(operator, "label")
    run["spec"] = {**run["spec"], "training": {"epochs": 101}}
    operator.cluster.stamp(run)
    operator.sync()
    operator.reconcile()
    assert (operator.status.phase, operator.condition("Stalled").reason) == ("Waiting", "InvalidSpec")

    run["spec"] = {**run["spec"], "training": {"epochs": 2}}
    operator.cluster.stamp(run)
    operator.drive()
    assert len(operator.executed) == 5


def test_a_run_that_has_not_begun_is_held_too(operator):
    operator.cluster.apply(spec={"judge": {}})
    operator.sync()
    operator.reconcile()
    assert (operator.status.phase, operator.condition("Stalled").status, operator.cluster.creates) == ("Waiting", "True", [])


def test_a_stage_that_only_a_later_version_knows_is_left_to_it(operator):
    run = rolled_back_at(operator, "label")
    live = next(row for row in run["status"]["stages"] if row["outcome"] == "Running")
    live |= {"stage": "judge"}
    operator.cluster.stamp(run)
    jobs = copy.deepcopy(operator.cluster.jobs)
    operator.start_operator()
    operator.reconcile()

    assert operator.condition("Stalled").reason == "UnknownStage"
    assert operator.cluster.jobs == jobs
    assert live in run["status"]["stages"]


ENDS = [
    {},
    {"stages": "none"},
    {"phase": "Archived"},
    {"iterations": [{"iteration": {}}], "threads": "x"},
    {"stages": [], "iterations": []},
]


@pytest.mark.parametrize("spec", [{}, {"judge": {}}, {"loop": {"rule": "oracle"}}, {"training": {"epochs": 0}}])
@pytest.mark.parametrize("status", ENDS)
def test_a_run_that_has_ended_stays_ended_and_as_it_is(operator, status, spec):
    operator.cluster.apply()
    operator.drive()
    run = operator.cluster.runs["lab", "climb"]
    run["status"] |= status
    run["spec"] |= spec
    operator.cluster.stamp(run)
    before, writes = copy.deepcopy(run), len(operator.cluster.writes)

    operator.start_operator()
    operator.reconcile()

    assert operator.cluster.runs["lab", "climb"] == before
    assert len(operator.cluster.writes) == writes


def test_a_change_of_an_ended_run_is_noted_without_loss(operator):
    operator.cluster.apply()
    operator.drive()
    run = operator.cluster.runs["lab", "climb"]
    run["status"] |= {"stages": "none", "tally": {"wins": 3}}
    run["metadata"]["generation"] = 2
    operator.cluster.stamp(run)

    operator.start_operator()
    operator.reconcile()

    status = operator.cluster.runs["lab", "climb"]["status"]
    assert (status["observedGeneration"], status["stages"], status["tally"]) == (2, "none", {"wins": 3})
    assert len(operator.cluster.creates) == 5


def test_an_outcome_that_is_not_known_counts_for_nothing(operator):
    run = rolled_back_at(operator, "label")
    prepare = dict(run["status"]["stages"][0])
    failed = {name: prepare[name] for name in ("iteration", "stage", "startedAt", "gpus")} | {"attempt": 2, "outcome": "Doubted"}
    known = read_run(run)
    from ser_core.loop.deciding.stages import PREPARE, job_name

    run["status"]["stages"].append(failed | {"job": job_name(known, PREPARE, 2)})
    operator.cluster.stamp(run)

    operator.drive()

    assert len(operator.executed) == 5
    assert not any(row.outcome is Outcome.FAILED for row in operator.status.stages)
