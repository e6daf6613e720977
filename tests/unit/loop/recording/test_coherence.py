"""A status that the planner wrote is believed; one that others have written breaks nothing."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.loop.conftest import START

from ser_core.api.status import AttemptResources, SERRunStatus
from ser_core.loop.observed import Observed
from ser_core.loop.plan import plan
from ser_core.loop.recording.coherence import coherent

NO_AMOUNT = {"resources": AttemptResources(memory="much")}
NOW = "2026-01-31T12:00:00Z"


def test_the_empty_status_is_believed(make_world):
    assert coherent(make_world().run, SERRunStatus())


@pytest.mark.parametrize("rule", ["paper", "reference", "calibrated"])
@pytest.mark.parametrize("results", [{}, {"stop_at": 1}, {"stop_at": 3}, {"dev": (0.6, 0.7, 0.65, 0.7)}, {"dev": (0.6,)}])
@pytest.mark.parametrize(("rollback", "policy"), [("best", None), ("none", None), ("best", {"base": "hf://org/policy", "sft": {}})])
def test_every_status_of_a_run_is_believed(make_world, make_results, rule, results, rollback, policy):
    loop = {"maxIterations": 3, "rule": rule, "controls": ["full", "pseudoLabelOnce", "seedOnly"]}
    world = make_world(make_results(**results), loop={**loop, "stopping": {"rollback": rollback, "patience": 2}}, policy=policy)
    for _ in range(60):
        world.reconcile()
        assert coherent(world.run, world.status), world.status
        for job in world.live():
            world.end(job=job)
        world.wait(1)
    assert world.status.phase == "Completed"


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "Completed"},
        {"phase": "Failed"},
        {"finishedAt": NOW},
        {"startedAt": "yesterday"},
        {"startedAt": "9999-12-31T23:59:59Z"},
        {"startedAt": "0001-01-01T00:00:00Z"},
        {"bestIteration": 7},
        {"bestIteration": None},
        {"iterations": []},
        {"iterations": [{"iteration": 1, "learningStatus": "Seed", "devAccuracy": 0.5}]},
        {"stages": []},
        {"suspendedSeconds": -1},
        {"controls": [{"control": "x", "accuracy": 1, "accuracyLow": 1, "accuracyHigh": 1}]},
    ],
)
def test_a_change_that_the_planner_cannot_have_made_is_noticed(make_world, change):
    world = make_world()
    world.at("label", 1)
    assert coherent(world.run, world.status)

    changed = SERRunStatus.model_validate({**world.status.model_dump(by_alias=True, exclude_none=True, mode="json"), **change})

    assert not coherent(world.run, changed)


@pytest.mark.parametrize(
    "change", [{"job": "another"}, {"started_at": "never"}, {"attempt": 2}, {"gpus": -1}, {"manifest": "s3://x/y"}, NO_AMOUNT]
)
def test_an_attempt_that_the_planner_cannot_have_started_is_noticed(make_world, change):
    world = make_world()
    world.at("label", 1)
    *rows, live = world.status.stages

    changed = world.status.model_copy(update={"stages": (*rows, live.model_copy(update=change))})

    assert not coherent(world.run, changed)


@pytest.fixture(scope="session")
def recorded(make_world):
    """Statuses from the life of one run."""
    world = make_world(loop={"maxIterations": 2, "controls": ["full", "seedOnly"]}, activeDeadline="2h", budget={"gpuHours": 9})
    found = [SERRunStatus()]
    for step in range(40):
        world.reconcile()
        found.append(world.status)
        for job in world.live():
            world.end("failed" if step in (3, 9) else "done", job=job)
        world.wait(30)
    return world.run, tuple(dict.fromkeys(found))


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_believed_can_be_planned_from(recorded, data):
    run, statuses = recorded
    status, other = data.draw(st.sampled_from(statuses)), data.draw(st.sampled_from(statuses))
    names = data.draw(st.sets(st.sampled_from(sorted(SERRunStatus.model_fields)), max_size=4))
    mixed = status.model_copy(update={name: getattr(other, name) for name in names})
    kept = data.draw(st.sets(st.sampled_from(range(1, 8)), max_size=2))
    mixed = mixed.model_copy(update={"stages": tuple(row for number, row in enumerate(mixed.stages) if number not in kept)})

    if coherent(run, mixed):
        plan(run.model_copy(update={"status": mixed}), Observed(), START)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(status=st.builds(SERRunStatus))
def test_nothing_that_is_a_status_makes_the_check_raise(recorded, status):
    run, _ = recorded

    if coherent(run, status):
        plan(run.model_copy(update={"status": status}), Observed(), START)
