"""A program started as a container's is: by a user who has no name, no groups and no home, with no variables but those that are given."""

import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from chart.dockerfile import ROOT, last_stage

ID = 65532


def variables(dockerfile: Path) -> dict[str, str]:
    """The variables that an image gives, with the packages of this checkout in place of its own."""
    given = (pair.split("=", 1) for word, text in last_stage(dockerfile) if word == "ENV" for pair in text.split())
    return {**dict(given), "PYTHONPATH": f"{ROOT}:{ROOT / 'jobs'}:{ROOT / 'operator'}"}


def impossible() -> str | None:
    """Why no such program can be started here; None: it can."""
    if os.geteuid() != 0:
        return "only root can become another user; run the tests as root, as in a container of CI"
    if lacking := [name for name in ("setpriv", "unshare", "mount") if shutil.which(name) is None]:
        return f"{', '.join(lacking)} of util-linux is missing"
    refused = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0
    return "mount namespaces are refused here; run the tests as root with CAP_SYS_ADMIN" if refused else None


def words(command: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """The command line that starts Python as the unknown user.

    Args:
        command: Arguments of Python.
        folders: What it needs besides Python and the checkout. Those that it writes to must be its own (`os.chown`).
    """
    needed = [Path(place).resolve() for place in (sys.base_prefix, sys.prefix, ROOT, *folders)]
    user = ["setpriv", f"--reuid={ID}", f"--regid={ID}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    start = shlex.join(["exec", *user, sys.executable, *command])
    return ["unshare", "--mount", "sh", "-euc", "\n".join([*_opened(needed), start])]


def _opened(needed: Sequence[Path]) -> list[str]:
    """Commands that show what is needed below a folder that is closed to others, in a mount namespace of the program's own.

    An interpreter may lie in /root, which nobody else may enter.
    """
    hidden: dict[Path, list[Path]] = {}
    for place in needed:
        if closed := next((one for one in reversed(place.parents) if not one.stat().st_mode & stat.S_IXOTH), None):
            hidden.setdefault(closed, []).append(place)
    lines = []
    for closed, places in hidden.items():
        handles = range(3, 3 + len(places))
        lines += [f"exec {handle}<{shlex.quote(str(place))}" for handle, place in zip(handles, places, strict=True)]
        lines.append(f"mount -t tmpfs -o mode=755 none {shlex.quote(str(closed))}")
        for handle, place in zip(handles, places, strict=True):
            lines += [
                f"mkdir -p {shlex.quote(str(place))}",
                f"mount --no-canonicalize --bind /proc/self/fd/{handle} {shlex.quote(str(place))}",
            ]
            lines.append(f"exec {handle}<&-")
    return lines
