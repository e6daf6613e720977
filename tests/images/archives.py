"""The images of the node's tests, as OCI archives."""

import sys
from pathlib import Path

from images.builder import Builder
from images.context import ROOT, inputs
from images.debian import machine, python_base, suite_of
from images.kept import kept
from ser_core.version import VERSION

REGISTRY = "ser.test"
OPERATOR = f"{REGISTRY}/ser-operator:{VERSION}"
STAGES = f"{REGISTRY}/ser-jobs:{VERSION}"
_OPERATOR_PYTHON = (3, 13)


def operator_image(folder: Path) -> Path:
    """The operator's image, from its own Dockerfile, as the OCI archive of an image that is called `OPERATOR`.

    Args:
        folder: Where archives are kept, for example `controlplane.plane.build.cache_folder() / "images"`.

    Raises:
        CannotBuild: This machine lacks the means; the message says how to get them.
        subprocess.CalledProcessError: The build failed.
    """
    return _image(folder, "operator", OPERATOR, ROOT / "operator" / "Dockerfile", _OPERATOR_PYTHON)


def thin_stage_image(folder: Path) -> Path:
    """A stand-in for the stages' image, as the OCI archive of an image that is called `STAGES`.

    It has our code and the running interpreter's minor release of Python. Whoever starts it mounts the packages of the tests' environment
    at /opt/deps/site-packages.

    Args:
        folder: As for `operator_image`.

    Raises:
        CannotBuild: As for `operator_image`; or Debian has no such Python.
        subprocess.CalledProcessError: The build failed.
    """
    return _image(folder, "stages", STAGES, Path(__file__).parent / "thin.Dockerfile", sys.version_info[:2])


def _image(folder: Path, kind: str, name: str, dockerfile: Path, python: tuple[int, int]) -> Path:
    base = python_base(folder, suite_of(python), machine())

    def make(work: Path, archive: Path) -> None:
        builder = Builder(work)
        builder.build(dockerfile, ROOT, name, {"PYTHON_IMAGE": base})
        builder.save(name, archive)

    return kept(folder, kind, [base.encode(), name.encode(), *inputs(dockerfile)], make)
