"""The images, built step by step without a container engine. What only the base image can do (apt) is not."""

import subprocess
import sysconfig
from pathlib import Path

import pytest
from chart.dockerfile import ROOT, build, entrypoint, last_stage
from chart.rendering import objects, the

pytestmark = pytest.mark.timeout(1200)  # the first test of each image installs what is in it
OPERATOR, JOBS = ROOT / "operator" / "Dockerfile", ROOT / "jobs" / "Dockerfile"


@pytest.fixture(scope="module")
def operator(tmp_path_factory):
    """Folder of the operator's environment, installed as its image has it."""
    root = tmp_path_factory.mktemp("operator-image")
    assert build(OPERATOR, root) == []
    return root / "opt" / "ser"


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The stages' environment. The pinned packages are those of the tests, linked: torch is not fetched a second time."""
    root = tmp_path_factory.mktemp("jobs-image")
    packages = root / "packages"
    packages.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith("ser_operator") and entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)

    def link(command):
        if "LOCK" in command:
            (site,) = (root / "opt" / "ser").glob("lib/python*/site-packages")
            (site / "packages.pth").write_text(f"{packages}\n")

    left_out = build(JOBS, root, before_run=link)
    assert all("apt-get install" in command for command in left_out)
    return root / "opt" / "ser"


def python(environment, code, **variables):
    return subprocess.run(
        [environment / "bin" / "python", "-c", code], env=variables, cwd="/", capture_output=True, text=True, timeout=120, check=True
    ).stdout


def test_the_operator_starts_and_says_what_it_lacks(operator):
    (command,) = entrypoint(OPERATOR)

    ended = subprocess.run([operator / "bin" / command], env={}, cwd="/", capture_output=True, text=True, timeout=300)

    assert "SER_OPERATOR_IMAGE" in ended.stderr
    assert ended.returncode == 10


@pytest.mark.parametrize("module", ["torch", "transformers", "numpy", "pyarrow", "boto3", "pip"])
def test_the_operators_image_is_slim(operator, module):
    assert python(operator, f"import importlib.util; print(importlib.util.find_spec({module!r}))") == "None\n"


def test_every_module_of_the_operator_can_be_imported(operator):
    source = ROOT / "operator"
    names = [".".join(path.relative_to(source).with_suffix("").parts) for path in (source / "ser_operator").rglob("*.py")]

    python(operator, "; ".join(f"import {name.removesuffix('.__init__')}" for name in names))


def test_the_operators_packages_are_pinned(operator):
    listed = python(
        operator, "from importlib.metadata import distributions as d; print(*(f'{x.name}=={x.version}' for x in d()), sep='\\n')"
    )
    pins = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines()

    found = {line.lower().replace("_", "-") for line in listed.splitlines()}

    assert {line for line in found if not line.startswith("ser-operator==")} <= set(pins)


def test_a_stage_starts_by_the_command_of_its_pods(jobs):
    """Its spec is missing, which is a wrong spec (exit code 10)."""
    assert entrypoint(JOBS) == ["python", "-m", "ser_jobs.runtime"]

    ended = subprocess.run(
        [jobs / "bin" / "python", "-m", "ser_jobs.runtime"], env={}, cwd="/", capture_output=True, text=True, timeout=300
    )

    assert ended.returncode == 10, ended.stdout + ended.stderr
    assert "SER_STAGE" in ended.stdout + ended.stderr


def test_the_stages_image_has_no_operator_in_its_environment(jobs):
    """Its packages are installed, not linked to the checkout."""
    assert str(jobs) in python(jobs, "import ser_jobs.process.runtime; print(ser_jobs.process.runtime.__file__)")


@pytest.mark.parametrize("dockerfile", [OPERATOR, JOBS], ids=["operator", "jobs"])
def test_an_image_runs_as_nobody_and_writes_no_bytecode(dockerfile):
    found = last_stage(dockerfile)

    assert ("USER", "65532:65532") in found  # a number: Kubernetes cannot tell whether a name is root
    assert "PYTHONDONTWRITEBYTECODE=1" in str(found)


def test_a_stage_sees_no_gpu_that_it_has_not_asked_for():
    """The base gives every container all of its node; the device plugin names those that a pod has asked for."""
    assert "NVIDIA_VISIBLE_DEVICES=void" in str(last_stage(JOBS))


def test_commands_of_pods_are_in_their_images():
    (container,) = the(objects({}), "Deployment")["spec"]["template"]["spec"]["containers"]

    assert container["command"] == entrypoint(OPERATOR)
