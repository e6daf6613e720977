"""The executor crashes after every single one of its steps, and the run ends as if it had not."""

import pytest

from ser_core.api.status import SERRunStatus

LOOP = {"maxIterations": 2, "controls": ["full", "pseudoLabelOnce"]}
STEPS = 50


class Crash(Exception):
    """The executor is gone."""


def crash_at(world, step):
    """Let ``world`` crash at its step ``step``, counted from 1."""
    count = 0

    def tick():
        nonlocal count
        count += 1
        if count == step:
            raise Crash

    world.tick = tick


def steps_of(world):
    count = 0

    def tick():
        nonlocal count
        count += 1

    world.tick = tick
    world.drive()
    return count


def processes_live_on(world):
    pass


def processes_die_too(world):
    world.jobs.clear()


def status_is_lost(world):
    world.run = world.run.model_copy(update={"status": SERRunStatus()})


def test_every_step_of_the_run_is_covered(make_world):
    assert steps_of(make_world(loop=LOOP)) <= STEPS


@pytest.mark.parametrize("damage", [processes_live_on, processes_die_too, status_is_lost])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_crash_changes_nothing_about_what_is_committed(make_world, step, damage):
    undisturbed = make_world(loop=LOOP).drive()
    world = make_world(loop=LOOP)
    crash_at(world, step)
    try:
        world.drive()
    except Crash:
        damage(world)
        world.drive()

    assert world.status.phase == "Completed"
    assert world.committed() == undisturbed.committed()
    assert world.rerun == []
    times = {"iterations": {"__all__": {"started_at", "finished_at"}}}
    shown = {"iterations", "controls", "best_iteration", "reward_model", "learning_status", "message"}
    assert world.status.model_dump(include=shown, exclude=times) == undisturbed.status.model_dump(include=shown, exclude=times)


def test_a_status_that_is_lost_with_its_jobs_is_rebuilt_from_the_manifests(make_world):
    world = make_world(loop=LOOP).at("retrain", 2)
    stored = dict(world.store)
    processes_die_too(world)
    status_is_lost(world)
    world.drive()

    assert world.status.phase == "Completed"
    assert {key: world.store[key] for key in stored} == stored
