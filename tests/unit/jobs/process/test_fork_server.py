"""What the warm parent of stage processes does between a fork and the moment at which a stage can handle a stop."""

import json
import os
import subprocess
import sys

SERVER = """
import os, signal, time
from ser_jobs.process import fork_server, runtime

def wait_for_the_stop():
    until = time.monotonic() + 60
    while signal.SIGTERM not in signal.sigpending() and time.monotonic() < until:
        time.sleep(0.01)

os.register_at_fork(after_in_child=wait_for_the_stop)
fork_server.PRELOADED = ()
runtime.main = lambda: 0
fork_server.main()
"""


def test_a_stop_that_comes_while_a_stage_is_being_forked_is_not_lost(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # the code that this test imports
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        for request in ({"start": "job", "environment": {}, "output": str(tmp_path / "output")}, {"stop": "job"}):
            server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.close()
        told = [json.loads(line) for line in server.stdout]
    assert told[-1] == {"ended": "job", "exitCode": 143}
