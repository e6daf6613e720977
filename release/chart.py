"""The chart as an archive."""

import subprocess
import sys
from pathlib import Path

from controlplane.plane.build import binary
from images.context import ROOT
from ser_core.version import VERSION

CHART = ROOT / "charts" / "ser-operator"


def package(output: Path) -> Path:
    """Lint the chart and pack it.

    Args:
        output: Folder of the archive.

    Raises:
        subprocess.CalledProcessError: Helm refuses it.
    """
    helm("lint", "--strict", str(CHART))
    helm("package", str(CHART), "--destination", str(output), "--version", VERSION, "--app-version", VERSION)
    archive = output / f"ser-operator-{VERSION}.tgz"
    helm("template", "release", str(archive))
    return archive


def helm(*words: str) -> str:
    """What Helm says, on either of its outputs."""
    ended = subprocess.run([binary("helm"), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ended.returncode:
        print(ended.stdout, file=sys.stderr)
    ended.check_returncode()
    return ended.stdout
