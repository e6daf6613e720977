"""The images themselves, run by buildah as the user that they name."""

import shutil
import subprocess
import sys

import pytest
from chart.dockerfile import ROOT, last_stage

from controlplane.plane.build import cache_folder
from images import OPERATOR, STAGES, operator_image, thin_stage_image
from images.builder import Builder

pytestmark = pytest.mark.timeout(1800)  # the first one builds Debian's base
WHO = "import os, sys; print(os.getuid(), os.getgid(), f'{sys.version_info[0]}.{sys.version_info[1]}')"


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("storage")
    yield Builder(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def operator(can_build):
    return f"oci-archive:{operator_image(cache_folder() / 'images')}"


@pytest.fixture(scope="module")
def stages(can_build):
    return f"oci-archive:{thin_stage_image(cache_folder() / 'images')}"


def test_the_thin_image_has_our_code_and_this_interpreters_python(builder, stages):
    assert builder.run(stages, ["python", "-c", WHO]) == f"65532 65532 {sys.version_info[0]}.{sys.version_info[1]}\n"
    find = "import importlib.util as u; print(u.find_spec('ser_jobs.process.runtime').origin)"
    assert builder.run(stages, ["python", "-c", find]) == "/opt/app/ser_jobs/runtime.py\n"


def test_an_image_that_is_kept_is_not_built_again(operator):
    archive = operator_image(cache_folder() / "images")
    assert f"oci-archive:{archive}" == operator


def test_the_archive_says_the_images_name(operator):
    index = subprocess.run(["tar", "-xOf", operator.removeprefix("oci-archive:"), "index.json"], capture_output=True, text=True, check=True)
    assert OPERATOR in index.stdout


def test_the_thin_image_starts_as_the_stages_image_does():
    thin = dict(last_stage(ROOT / "tests" / "images" / "thin.Dockerfile"))
    full = dict(last_stage(ROOT / "jobs" / "Dockerfile"))
    assert {word: thin[word] for word in ("USER", "WORKDIR", "ENTRYPOINT")} == {
        word: full[word] for word in ("USER", "WORKDIR", "ENTRYPOINT")
    }


def test_the_names_are_those_that_the_chart_takes_by_default():
    version = OPERATOR.rsplit(":", 1)[1]
    assert f'appVersion: "{version}"' in (ROOT / "charts" / "ser-operator" / "Chart.yaml").read_text()
    assert STAGES.endswith(f":{version}")
