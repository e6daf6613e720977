"""Command lines that outlive a version: in Jobs of live runs, in Deployments, in users' scripts. Each starts, and says what it lacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from chart.dockerfile import ROOT, entrypoint

from ser_core.version import VERSION

PROGRAMS = Path(sys.executable).parent
STAGE, OPERATOR, USAGE = (10, "SER_STAGE is not set"), (10, "SER_OPERATOR_IMAGE"), (2, "Usage: ")
COMMANDS = {
    "python -m ser_jobs.supervisor -m ser_jobs.runtime": STAGE,  # of every Job
    "python -m ser_jobs.runtime": STAGE,  # of the stages' image
    "python -m ser_jobs.fork_server": (0, '{"ready": true}'),  # of ser run
    "python -m ser_core.cli.app": USAGE,
    "python -m ser_operator.main": OPERATOR,
    "ser": USAGE,
    "kubectl-ser": USAGE,
    "ser-operator": OPERATOR,  # of the operator's image and Deployment
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_line_of_an_earlier_version_still_starts(command):
    code, said = COMMANDS[command]
    program, *arguments = command.split()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SER_")}

    ended = subprocess.run([PROGRAMS / program, *arguments], env=environment, input="", capture_output=True, text=True, timeout=120)

    assert ended.returncode == code, ended.stdout + ended.stderr
    assert said in ended.stdout + ended.stderr


@pytest.mark.parametrize("folder", ["jobs", "operator"])
def test_an_image_starts_by_one_of_them(folder):
    assert " ".join(entrypoint(ROOT / folder / "Dockerfile")) in COMMANDS


def test_the_version_is_that_of_the_code_where_an_older_one_was_installed():
    older = "import importlib.metadata as installed; installed.version = lambda _: '0.0.1'"
    program = f"{older}; import sys; sys.argv[1:] = ['--version']; from ser_core.cli.app import main; main()"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120).stdout == f"{VERSION}\n"
