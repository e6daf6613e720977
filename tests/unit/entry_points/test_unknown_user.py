"""What the images start is started by the user that the images have: no name, no groups, no home."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from chart.dockerfile import ROOT
from lanes import cannot_run
from unit.entry_points.api_double import ApiDouble
from unit.entry_points.unknown_user import ID, impossible, variables, words

OPERATOR, JOBS = ROOT / "operator" / "Dockerfile", ROOT / "jobs" / "Dockerfile"


@pytest.fixture(scope="module", autouse=True)
def possible():
    """The machine of `.ci/run` has what these tests need."""
    if reason := impossible():
        cannot_run(reason)


@pytest.fixture
def folder():
    """A folder of the unknown user's own."""
    with tempfile.TemporaryDirectory() as made:
        os.chown(made, ID, ID)
        yield Path(made)


def ended(folder, image, *command, **given):
    return subprocess.run(
        words(command, [folder]), env=variables(image) | given, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_user_is_as_unknown_as_in_the_image(folder):
    user = "import os; print(os.getresuid(), os.getresgid(), os.getgroups()); import pwd; pwd.getpwuid(os.getuid())"

    said = ended(folder, OPERATOR, "-c", user)

    assert said.stdout == f"{(ID,) * 3} {(ID,) * 3} []\n"
    assert f"uid not found: {ID}" in said.stderr


def test_the_operator_watches_and_ends_in_order(folder):
    log = folder / "log"
    with ApiDouble() as api, log.open("w") as output:
        settings = {"SER_OPERATOR_IMAGE": "x", "SER_OPERATOR_PROBE_PORT": "0", "KUBECONFIG": str(api.kubeconfig(folder / "kubeconfig"))}
        command = words(["-m", "ser_operator.main"], [folder])
        process = subprocess.Popen(command, env=variables(OPERATOR) | settings, cwd=folder, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 60
            while not api.watching.wait(0.1) and process.poll() is None and time.monotonic() < deadline:
                pass
            process.terminate()
            code = process.wait(60)
        finally:
            process.kill()

    assert api.watched == {"/apis/ser.dev/v1alpha1/serruns", "/apis/batch/v1/jobs", "/api/v1/pods"}, log.read_text()
    assert code == 0, log.read_text()
    assert "takes the runs of all namespaces" in log.read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("image", "modules", "lacks"),
    [
        (OPERATOR, ["ser_operator.main"], "SER_OPERATOR_IMAGE"),
        (JOBS, ["ser_jobs.runtime"], "SER_STAGE"),
        (JOBS, ["ser_jobs.supervisor", "-m", "ser_jobs.runtime"], "SER_STAGE"),
    ],
    ids=["operator", "stage", "supervised stage"],
)
def test_without_any_variable_of_its_pod_each_says_what_it_lacks(folder, image, modules, lacks):
    said = ended(folder, image, "-m", *modules)

    assert lacks in said.stdout + said.stderr
    assert said.returncode == 10
