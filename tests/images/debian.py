"""Base images of Debian with Python, for machines that reach no image registry."""

import platform
import subprocess
import sys
from pathlib import Path

from images.builder import ALONE, Builder, CannotBuild, obstacle
from images.kept import kept

SUITES = {(3, 11): "bookworm", (3, 13): "trixie"}
"""Releases by the Python that they have."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PACKAGES = "python3,python3-venv,ca-certificates"
_LEFT_OUT = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "info", "locale", "man")]
_CONTENT = ["--variant=minbase", f"--include={_PACKAGES}", *_LEFT_OUT, '--customize-hook=ln -s python3 "$1/usr/bin/python"']


def machine() -> str:
    """The platform of this machine, as images name it."""
    return f"linux/{_ARCHITECTURES[platform.machine()]}"


def suite_of(python: tuple[int, int]) -> str:
    """The release of Debian with this Python.

    Raises:
        CannotBuild: There is none.
    """
    if python not in SUITES:
        known = " or ".join(f"{major}.{minor}" for major, minor in SUITES)
        raise CannotBuild(f"no release of Debian has Python {python[0]}.{python[1]}; use an environment of Python {known}: make PYTHON=…")
    return SUITES[python]


def python_base(folder: Path, suite: str, target: str) -> str:
    """A base image, as a Dockerfile's FROM takes it. It is built once; remove the folder for Debian's newest.

    Args:
        folder: Where it is kept.
        suite: The release of Debian.
        target: Platform, as ``linux/amd64``. Another one than this machine's needs an emulator that the kernel knows of
            (Debian's qemu-user-static).
    """
    architecture = target.rpartition("/")[2]

    def make(work: Path, archive: Path) -> None:
        name = f"localhost/python:{suite}"
        bootstrap(suite, architecture, work / "rootfs.tar")
        (work / "Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\n")
        Builder(work).build(work / "Dockerfile", work, name, options=[f"--platform={target}"])
        Builder(work).save(name, archive)

    return f"oci-archive:{kept(folder, f'base-{suite}-{architecture}', [option.encode() for option in _CONTENT], make)}"


def bootstrap(suite: str, architecture: str, tar: Path) -> None:
    """Write the files of a small Debian with Python, which is also called ``python``."""
    if reason := obstacle():
        raise CannotBuild(reason)
    subprocess.run(
        [*ALONE, "mmdebstrap", "--quiet", "--mode=root", f"--architectures={architecture}", *_CONTENT, suite, str(tar)],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=True,
    )
