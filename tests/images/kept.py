"""Archives that are made once for equal inputs and kept outside the checkout."""

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from locks import locked

GENERATIONS = 5
"""As many archives of a name are kept: several checkouts may share the folder."""


def kept(folder: Path, name: str, inputs: Iterable[bytes], make: Callable[[Path, Path], None]) -> Path:
    """An archive that is made if no earlier one had the same inputs.

    Args:
        folder: Where archives are kept.
        name: Of the archive; two processes never make one of the same name at once.
        inputs: Everything that decides what is in it.
        make: Is given an empty folder to work in, which is removed afterwards, and the path to write to.
    """
    path = folder / f"{name}-{digest(inputs)[:16]}.tar"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"{name}.lock"):
        if not path.exists():
            started = time.monotonic()
            print(f"images: building {path.name}", file=sys.stderr, flush=True)
            with _working_folder(folder / f"{name}.work") as work:
                make(work, work / path.name)
                (work / path.name).replace(path)
            print(f"images: built {path} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        os.utime(path)
        for old in sorted(folder.glob(f"{name}-{'?' * 16}.tar"), key=lambda one: one.stat().st_mtime)[:-GENERATIONS]:
            old.unlink()
    return path


def digest(inputs: Iterable[bytes]) -> str:
    """One number for many texts, whose borders count."""
    whole = hashlib.sha256()
    for one in inputs:
        whole.update(hashlib.sha256(one).digest())
    return whole.hexdigest()


@contextmanager
def _working_folder(path: Path) -> Iterator[Path]:
    shutil.rmtree(path, ignore_errors=True)  # of one that was killed
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)
