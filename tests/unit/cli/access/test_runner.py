"""Whether a `ser run` lives: by its processes on its own machine, elsewhere by its silence."""

import os
import subprocess
import threading
import time

import pytest

from ser_core.api.serrun import SERRun
from ser_core.api.status import Phase, SERRunStatus
from ser_core.cli.access import runner
from ser_core.cli.access.runner import Held, is_alive, locked, look, seen, this_process
from ser_core.cli.views.runner_line import runner_line
from ser_core.cli.views.why_view import Why, carried_out
from ser_core.errors import SERError
from ser_core.store.objects.file import FileStore
from ser_core.store.runs.run_lock import STALE_SECONDS, Holder, Process, RunLock, lock_key, read_holder

HERE = Holder(
    token="1", host="laptop", place="boot/1", user=7, processes=(Process(number=4711, started=1), Process(number=4712, started=2))
)
THERE = HERE.model_copy(update={"token": "2", "place": "boot/2"})


@pytest.mark.parametrize(
    ("holder", "silent", "living", "alive"),
    [
        (HERE, 10_000, {4711}, True),
        (HERE, 10_000, {4712}, True),
        (HERE, 0, set(), False),
        (THERE, STALE_SECONDS, set(), True),
        (THERE, STALE_SECONDS + 1, {4711}, False),
        (HERE.model_copy(update={"place": ""}), 0, set(), True),
        (HERE.model_copy(update={"processes": ()}), 0, set(), True),
        (HERE.model_copy(update={"user": 8}), 0, set(), True),
    ],
    ids=["alive", "its stages end", "killed", "elsewhere", "dead elsewhere", "no place", "no processes", "another user's"],
)
def test_processes_tell_it_where_they_can_be_looked_at_and_silence_elsewhere(holder, silent, living, alive):
    assert seen(holder, HERE, silent, lambda process: process.number in living).alive is alive


def test_root_sees_the_processes_of_every_user():
    own = HERE.model_copy(update={"user": 0})
    assert not seen(HERE, own, 0, lambda _: False).alive


def test_a_process_is_known_by_its_start_too():
    own = this_process().processes[0]
    assert is_alive(own)
    assert not is_alive(own.model_copy(update={"started": own.started + 1}))
    with subprocess.Popen(["true"]) as ended:
        while is_alive_by(ended.pid):
            time.sleep(0.01)  # it has ended, and nobody has collected it yet
    assert not is_alive(Process(number=ended.pid, started=0))


def is_alive_by(number):
    return any(is_alive(process) for process in runner._process(number))


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path)


def hold(store, warn=lambda _: None):
    return locked(store, store, "default", "hh", warn, "ser run hh.yaml")


def test_a_lock_whose_processes_are_dead_is_taken_at_once_and_released_at_the_end(store):
    own = this_process()
    dead = own.processes[0].model_copy(update={"started": 1})
    RunLock(store, "default", "hh").take(own.model_copy(update={"processes": (dead,)}))
    assert not look(store, "default", "hh").alive
    with hold(store):
        assert look(store, "default", "hh").alive
    assert look(store, "default", "hh") is None
    assert list(store.list("")) == []


def test_who_waits_says_for_whom_and_goes_on_after_it(store):
    told = []
    warned = threading.Event()

    def second():
        with hold(store, lambda message: (told.append(message), warned.set())):
            told.append("mine")

    with hold(store):
        thread = threading.Thread(target=second)
        thread.start()
        assert warned.wait(60)
        assert len(told) == 1
    thread.join()
    assert told[0].startswith(f"another ser run on {this_process().host}, process {os.getpid()}, last seen ")
    assert told[1:] == ["mine"]


def test_who_has_lost_the_lock_stops_and_leaves_it_alone(store, monkeypatch):
    monkeypatch.setattr(runner, "BEAT_SECONDS", 0.01)
    with hold(store) as held:
        while held._thread.is_alive():  # a beat that had just read its own name writes once more
            store.put(lock_key("default", "hh"), THERE.model_dump_json(by_alias=True).encode())
            held._thread.join(0.1)
        with pytest.raises(SERError, match="ser run on laptop has taken the run over") as lost:
            held.keep(())
    assert lost.value.reason == "LockLost"
    assert read_holder(store, lock_key("default", "hh")) == THERE


def test_processes_that_may_outlive_it_stand_in_the_lock(store):
    own = this_process()
    with subprocess.Popen(["sleep", "600"]) as child, Held(RunLock(store, "default", "hh"), own, "") as held:
        held.keep({child.pid})
        assert [process.number for process in read_holder(store, lock_key("default", "hh")).processes] == [os.getpid(), child.pid]
        child.kill()


def run_in(phase):
    spec = {"rewardModel": {"base": "hf://o/m"}, "data": {"source": {"uri": "hf://o/d"}}, "storage": {"uri": "s3://bucket/r"}}
    return SERRun(metadata={"name": "hh", "uid": "u"}, spec=spec, status=SERRunStatus(phase=phase))


LIVES = seen(THERE, HERE, 12, is_alive)
DEAD = seen(THERE, HERE, 3700, is_alive)


@pytest.mark.parametrize(
    ("phase", "look", "told"),
    [
        (Phase.RUNNING, LIVES, "ser run on laptop, process 4711, last seen 12 s ago"),
        (Phase.WAITING, DEAD, "ser run on laptop, process 4711, last seen 1 h 1 min ago, stopped without ending; ser run hh.yaml goes on"),
        (Phase.RUNNING, None, "no ser run works on it; ser run hh.yaml goes on"),
        (Phase.SUSPENDED, None, ""),
        (Phase.COMPLETED, DEAD, ""),
    ],
)
def test_a_dead_ser_run_is_told_from_a_live_one(phase, look, told):
    assert runner_line(run_in(phase), look, "hh.yaml") == told


def test_why_says_that_a_run_was_left_and_how_it_goes_on():
    before = Why("nothing is wrong: a stage is running", "retrain of loop 1", "watch it")
    left = carried_out(before, run_in(Phase.RUNNING), DEAD, "hh.yaml")
    assert (left.cause, left.fix) == ("the run stopped without ending", "go on: ser run hh.yaml")
    assert "last seen 1 h 1 min ago" in left.evidence
    lives = carried_out(before, run_in(Phase.RUNNING), LIVES, "hh.yaml")
    assert lives.evidence == "retrain of loop 1; ser run on laptop, process 4711, last seen 12 s ago"
