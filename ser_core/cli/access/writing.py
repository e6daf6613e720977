"""What a command writes where a person wants it: never over what is there, and a place that takes nothing is told by its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ser_core.errors import SpecError, is_disk_full


def refuse_used(folder: Path, named: str) -> None:
    """Refuse a folder in which something stands; ``named`` is the argument or option that names another one.

    Raises:
        SpecError: It is not a new or empty folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(f"{folder} exists and is not empty", reason="FolderNotEmpty", hint=f"name a new {named}")


@contextmanager
def writing(target: Path, named: str) -> Iterator[None]:
    """Around what writes ``target``; ``named`` is the argument or option that names another one. A full disk is told by `main`.

    Raises:
        SpecError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise
        raise SpecError(f"{target} cannot be written: {error.strerror}", reason="NotWritable", hint=f"name another {named}") from error
