"""What counts as a sign of life, and how long may pass without one."""

import io

import pytest

from ser_jobs.ranks import Ranks
from ser_jobs.supervisor.silence import Bounds, Silence, SilenceWatch
from ser_jobs.telemetry.heartbeat import VARIABLE, Heartbeat, Sign, from_environment, read
from ser_jobs.telemetry.reporter import EventLog

BOUNDS = Bounds(step=60, silent=1800)


def test_steps_and_silent_work_are_told_apart(tmp_path):
    path = tmp_path / "heartbeat"
    heartbeat = from_environment({VARIABLE: str(path)})
    assert read(path) is None

    heartbeat.silent("loading the model")
    loading = read(path)
    heartbeat.step()
    heartbeat.step()
    stepping = read(path)

    assert loading == Sign(1, 0, "loading the model")
    assert stepping == Sign(3, 2, "loading the model")


def test_progress_of_a_stage_without_steps_promises_no_next_one(tmp_path):
    heartbeat = Heartbeat(tmp_path / "heartbeat", has_steps=False)

    heartbeat.step()
    heartbeat.step()

    assert read(tmp_path / "heartbeat") == Sign(2, 0, "starting")


@pytest.mark.parametrize("rank", [0, 1])
def test_every_step_is_a_sign_of_life_also_where_it_is_not_shown(tmp_path, rank):
    log = EventLog(tmp_path / "log", io.StringIO(), Heartbeat(tmp_path / "heartbeat"), Ranks(rank, rank, 2))

    for step in range(1, 6):
        log.progress(step, 10, "pairs")

    assert read(tmp_path / "heartbeat").steps == 5
    assert (tmp_path / "log").exists() == (rank == 0)


def test_no_step_is_expected_after_the_last_one(tmp_path):
    log = EventLog(tmp_path / "log", io.StringIO(), Heartbeat(tmp_path / "heartbeat"))

    for step in range(11):
        log.progress(step, 10, "pairs")

    assert read(tmp_path / "heartbeat") == Sign(12, 0, "finishing")


def watch_steps(seconds, count=10):
    watch = SilenceWatch(BOUNDS, 0.0)
    for step in range(count):
        watch.see(Sign(step + 1, step, "x"), step * seconds)
    return watch, (count - 1) * seconds


def test_a_step_that_takes_longer_than_a_minute_is_too_long_where_steps_are_short():
    watch, last = watch_steps(1.0)

    assert not watch.silence(last + 60).too_long
    assert watch.silence(last + 61).too_long
    assert watch.silence(last + 61).phase == "between two steps"


def test_long_steps_may_take_three_times_as_long_as_usual():
    watch, last = watch_steps(40.0)

    assert not watch.silence(last + 120).too_long
    assert watch.silence(last + 121).too_long
    assert watch.allowed() == 120


def test_signs_that_are_seen_seldom_do_not_make_steps_longer():
    watch = SilenceWatch(BOUNDS, 0.0)
    for look in range(1, 10):
        watch.see(Sign(100 * look, 100 * look, "x"), 50.0 * look)  # 100 steps between two looks

    assert watch.allowed() == 60


@pytest.mark.parametrize("steps", [0, 1])
def test_silent_work_and_the_first_step_after_it_have_a_longer_time(steps):
    watch = SilenceWatch(BOUNDS, 0.0)
    watch.see(Sign(7, steps, "saving"), 10.0)

    assert not watch.silence(10 + 1800).too_long
    assert watch.silence(10 + 1801).too_long
    assert watch.silence(10 + 1801).phase == "saving"


def test_a_process_that_never_shows_a_sign_is_found():
    assert SilenceWatch(BOUNDS, 0.0).silence(1801.0) == Silence(1801.0, 1800, "starting")
