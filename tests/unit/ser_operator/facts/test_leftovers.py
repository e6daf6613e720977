"""Jobs go when nothing needs them, and no sooner."""

import copy
from datetime import timedelta

import pytest

from ser_core.api.status import Phase
from ser_core.loop.recording.conditions import conditions


def names(operator):
    """Stage and attempt of each Job that nobody has deleted."""
    jobs = [job for job in operator.cluster.jobs.values() if "deletionTimestamp" not in job["metadata"]]
    labels = [job["spec"]["template"]["metadata"]["labels"] for job in jobs]
    return [f"{one['ser.dev/stage']}-{one['ser.dev/iteration']}.{one['ser.dev/attempt']}" for one in labels]


def look(operator, **later):
    operator.cluster.now += timedelta(**later)
    operator.sync()
    return operator.reconcile()


def begun(operator, **spec):
    """A run whose first stage is committed and whose second stage runs."""
    operator.cluster.apply(spec=spec)
    look(operator)
    operator.finish_stage(*operator.cluster.live_jobs())
    look(operator)
    look(operator)
    return operator


def test_the_job_of_a_committed_stage_goes_after_ten_minutes_while_the_run_goes_on(operator):
    begun(operator)
    look(operator, minutes=9)
    assert names(operator) == ["prepare-0.1", "retrain-0.1"]

    look(operator, minutes=2)

    assert names(operator) == ["retrain-0.1"]
    assert operator.status.phase is Phase.RUNNING


def test_what_is_committed_is_not_computed_again_though_its_job_is_gone(operator):
    begun(operator)
    look(operator, minutes=11)
    for name in [name for name, job in operator.cluster.jobs.items() if "deletionTimestamp" in job["metadata"]]:
        operator.cluster.vanish(name)

    operator.drive()

    assert len(operator.executed) == len(set(operator.executed)) == 5


def test_of_failed_attempts_the_job_of_the_last_one_stays_for_its_log(operator):
    operator.cluster.apply()
    for _ in range(2):
        look(operator, minutes=3)
        look(operator, minutes=3)
        operator.cluster.end(*operator.cluster.live_jobs(), 1)
    look(operator, minutes=3)
    look(operator, minutes=15)

    assert "prepare-0.2" in names(operator)
    assert "prepare-0.1" not in names(operator)


def test_the_operator_comes_back_when_the_next_job_is_due(operator):
    operator.cluster.apply()
    operator.drive()

    again = look(operator)

    assert 0 < again <= 600
    look(operator, seconds=again + 1)
    assert names(operator) != ["prepare-0.1", "retrain-0.1", "label-1.1", "filter-1.1", "retrain-1.1"]
    look(operator, seconds=600)
    assert names(operator) == []
    assert look(operator) is None


@pytest.mark.parametrize(("spec", "days"), [({}, 7), ({"ttlAfterFinished": "48h"}, 2)])
def test_a_failed_run_keeps_the_job_that_tells_why_until_its_time_is_over(operator, spec, days):
    operator.cluster.apply(spec=spec)
    look(operator)
    operator.cluster.end(*operator.cluster.live_jobs(), 12)
    look(operator)
    assert operator.status.phase is Phase.FAILED

    again = look(operator, hours=1)
    assert names(operator) == ["prepare-0.1"]
    assert again == pytest.approx(timedelta(days=days).total_seconds() - 3600, abs=5)

    look(operator, seconds=again + 1)
    assert names(operator) == []


def test_jobs_are_left_alone_while_a_lost_status_is_rebuilt(operator):
    begun(operator)
    operator.cluster.now += timedelta(minutes=20)
    run = operator.cluster.runs["lab", "climb"]
    run["status"] = {}
    operator.cluster.stamp(run)
    look(operator)

    assert names(operator) == ["prepare-0.1", "retrain-0.1"]


def test_jobs_of_others_are_left_alone(operator):
    begun(operator)
    (first, _) = operator.cluster.jobs.values()
    first["metadata"]["ownerReferences"][0]["uid"] = "another"
    operator.cluster.stamp(first)
    look(operator, days=30)

    assert "prepare-0.1" in names(operator)


@pytest.mark.parametrize("finished", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_a_run_that_ended_at_an_end_of_the_calendar_breaks_nothing(operator, finished):
    told = conditions((), Phase.FAILED, "InvalidData", "no rows", 1, "2026-01-31T12:00:00Z")
    status = {"phase": "Failed", "finishedAt": finished, "conditions": [one.model_dump(by_alias=True) for one in told]}
    operator.cluster.apply(spec={"ttlAfterFinished": "87600h"}, status=status)

    look(operator)

    assert operator.status.phase is Phase.FAILED


def test_a_job_of_somebody_else_stays_although_the_run_owns_it(operator):
    operator.cluster.apply()
    operator.drive()
    notify = copy.deepcopy(next(iter(operator.cluster.jobs.values())))
    notify["metadata"]["name"] = "notify"
    operator.cluster.jobs["notify"] = notify
    operator.cluster.stamp(notify)
    look(operator, days=8)

    look(operator, days=8)

    assert "deletionTimestamp" not in notify["metadata"]
