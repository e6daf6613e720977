"""What the warm parent of stage processes does while it forks one: a stop comes, or there is no room for a process."""

import json
import os
import subprocess
import sys

import pytest

from ser_jobs.process import fork_server

START = """
import os, signal, time
from ser_jobs.process import fork_server, runtime
fork_server.PRELOADED = ()
runtime.main = lambda: 0
"""
EARLY = """
fork_server.PRELOADED = ("torch",)
fork_server.importlib.import_module = lambda _: signal.raise_signal(signal.SIGTERM)
"""
LATE = """
def wait_for_the_stop():
    until = time.monotonic() + 60
    while signal.SIGTERM not in signal.sigpending() and time.monotonic() < until:
        time.sleep(0.01)
os.register_at_fork(after_in_child=wait_for_the_stop)
"""
FULL = """
fork, refusals = os.fork, [OSError(11, "Resource temporarily unavailable")]
def refused_once():
    if refusals:
        raise refusals.pop()
    return fork()
os.fork = refused_once
"""


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What a server says that is prepared by some code, and gets some requests."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # the code that this test imports

    def tell(prepared, *requests):
        command = [sys.executable, "-c", f"{START}{prepared}fork_server.main()"]
        sent = "".join(json.dumps({"environment": {}, "output": str(tmp_path / "output"), **one}) + "\n" for one in requests)
        ended = subprocess.run(command, input=sent, stdout=subprocess.PIPE, text=True, check=True)
        return [json.loads(line) for line in ended.stdout.splitlines() if "ended" in line]

    return tell


def test_a_stop_that_comes_while_a_stage_is_being_forked_is_not_lost(told):
    assert told(LATE, {"start": "job"}, {"stop": "job"}) == [{"ended": "job", "exitCode": 143}]


def test_a_stop_that_everybody_gets_while_the_server_starts_does_not_end_it_before_its_stages(told):
    assert [end["ended"] for end in told(EARLY, {"start": "job"})] == ["job"]


def test_a_stage_for_which_there_is_no_room_just_now_is_taken_away_and_the_server_goes_on(told):
    ends = told(FULL, {"start": "one"}, {"start": "other"})
    assert ends[0] == {"ended": "one", "exitCode": 143}
    assert [end["ended"] for end in ends] == ["one", "other"]


def test_what_a_library_prints_without_an_end_of_line_hides_no_word_of_the_server(capfd):
    os.write(1, b"words")
    fork_server._say({"started": "a"})
    assert capfd.readouterr().out.splitlines()[-1] == '{"started": "a"}'
