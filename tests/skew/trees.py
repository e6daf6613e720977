"""The code of other versions, outside of the checkout: commits as they were, and a version that comes after this one."""

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

from lanes import cannot_run

from controlplane.faults.scenario import ROOT
from controlplane.plane.build import cache_folder

COMMITS = tomllib.loads(Path(__file__).with_name("commits.toml").read_text())
PARTS = ("ser_core", "jobs", "operator")

_LATER = (
    (
        "ser_core/api/serrun.py",
        "    suspend: bool = False\n",
        '    tally: int = Field(default=0, ge=0, le=9)\n    """Of a later version."""\n',
    ),
    ("ser_core/api/status.py", '    """What was observed and decided."""\n', "\n    tally: int = Field(default_factory=lambda: 7)\n"),
    ("ser_core/api/status.py", '    """One attempt of a stage."""\n', "\n    tally: int = Field(default_factory=lambda: 1)\n"),
    ("ser_core/api/stage.py", "class StageResult(Record):\n", '    """Of a later version."""\n\n    tally: int = 3\n'),
)
"""File, what stands in it, and what a later version has put beside it: a field of the spec that stages read, two of the status, one of a
stage's report. Those of the status have no default in the CRD, so that nobody but the operator writes them."""
_RENAMED = ("ser_core/api/status.py", 'PENDING = "Pending"\n    RUNNING = "Running"', 'PENDING = "Pending"\n    RUNNING = "Ticking"')
"""A phase that only the later version has."""


def tree_of(commit: str) -> Path:
    """Folder with the code of ``commit``, kept with the other things that tests build. Skips the test where the clone does not have it."""
    folder = cache_folder() / "skew" / commit
    if folder.is_dir():
        return folder
    if not _git("cat-file", "-e", f"{commit}^{{commit}}") and not _git("fetch", "--quiet", "--depth", "1", "origin", commit):
        cannot_run(f"commit {commit[:12]} of tests/skew/commits.toml is not in this clone: git fetch --unshallow")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        archive = Path(place, "code.tar")
        if not _git("archive", f"--output={archive}", commit, *PARTS):
            cannot_run(f"git archive of commit {commit[:12]} fails")
        with tarfile.open(archive) as content:
            content.extractall(Path(place, "code"), filter="data")
        with contextlib.suppress(OSError):  # another process was first
            Path(place, "code").rename(folder)
    return folder


def later_tree(folder: Path) -> Path:
    """This checkout's code with what a later version may add, below an empty ``folder``."""
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, added in _LATER:
        _edit(folder / name, before, before + added if before.endswith(('"""\n', ":\n")) else added + before)
    _edit(folder / _RENAMED[0], *_RENAMED[1:])
    return folder


def python_path(tree: Path) -> str:
    """What makes Python run the code of a tree."""
    return os.pathsep.join(str(tree / part) for part in ("", "jobs", "operator"))


def crd_of(tree: Path) -> str:
    """The CRD of a tree, as JSON."""
    code = "import json; from ser_core.api.crd import crd; print(json.dumps(crd()))"
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": python_path(tree)},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout


def _edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert text.count(before) == 1, f"{file.name} has changed: tests/skew/trees.py looks for {before!r}"
    file.write_text(text.replace(before, after))


def _git(*words: str) -> bool:
    ended = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)
    return ended.returncode == 0
