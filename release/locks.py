"""Writes the files in locks/: every package that an image is made of, with the digests of all files that it may come as.

uv resolves; pip installs by them (``--require-hashes``) and takes nothing else. Which index serves the files does not matter.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.markers import Marker

from images.context import ROOT

LOCKS = ROOT / "locks"
OLDEST_PYTHON = "3.11"
_PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_MACHINES = ("x86_64", "aarch64")
_PIN = re.compile(r"(?P<pin>[\w.-]+==[\w.]+)(?: ; (?P<marker>[^\\]+))? \\")


def requirements() -> dict[str, list[str]]:
    """What each lock must satisfy, from pyproject.toml."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = content["project"]
    extras, own = project["optional-dependencies"], project["dependencies"]
    return {
        "build.txt": content["build-system"]["requires"],
        "operator.txt": [*extras["operator"], *(one for one in own if one.startswith("pydantic"))],
        "stages.txt": [*extras["jobs"], *own],
    }


def locked(uv: str, wanted: Sequence[str]) -> str:
    """The lock of some requirements.

    Args:
        uv: The program.
        wanted: As pip takes them.

    Raises:
        subprocess.CalledProcessError: There are no versions that fit, or the index cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder, "requirements.in")
        asked.write_text("\n".join(wanted))
        words = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes", "--universal"]
        words += ["--python-version", OLDEST_PYTHON, "--constraint", str(ROOT / "constraints.txt"), str(asked)]
        said = subprocess.run(words, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, check=True).stdout
    return "".join(f"{line}\n" for line in _of_images(said.splitlines()))


def _of_images(lines: Sequence[str]) -> Iterator[str]:
    """Without the packages that no image takes, such as those of other systems."""
    keeps = False
    for line in lines:
        if pin := _PIN.match(line):
            keeps = pin["marker"] is None or any(Marker(pin["marker"]).evaluate(one) for one in _environments())
        if keeps:
            yield line


def _environments() -> Iterator[dict[str, str]]:
    for python in _PYTHONS:
        for machine in _MACHINES:
            versions = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine}
            yield {**versions, "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}


def main() -> None:
    """``python -m release.locks UV``."""
    LOCKS.mkdir(exist_ok=True)
    for name, wanted in requirements().items():
        (LOCKS / name).write_text(locked(sys.argv[1], wanted))
        print(LOCKS / name)


if __name__ == "__main__":
    main()
