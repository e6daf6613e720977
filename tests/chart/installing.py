"""One who installs the chart by the documents: Helm, kubectl and its plugin, all rights, and the repository's files at hand."""

import json
import sys
from pathlib import Path

from documents import ROOT, program_folder, run

from controlplane.plane.build import binary, command


def chart_user(plane, folder, timeout=600):
    """A function that runs the commands of a text, with an object as the file serrun.yaml, and gives what they say.

    Args:
        plane: The control plane.
        folder: Where one is.
        timeout: Seconds for a text.
    """
    for name in ("charts", "crds"):
        (folder / name).symlink_to(ROOT / name)
    programs = {"helm": [binary("helm")], "kubectl": command("kubectl"), "kubectl-ser": [Path(sys.executable).with_name("kubectl-ser")]}
    path = program_folder(folder / "bin", programs)

    def call(text, document=None):
        (folder / "serrun.yaml").write_text(json.dumps(document))
        return run(text, folder, path, {"KUBECONFIG": str(plane.kubeconfig())}, timeout=timeout)

    return call
