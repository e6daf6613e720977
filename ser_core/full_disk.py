"""A full disk is told by the folder that has no space left, whatever was read, and whoever has found it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ser_core.errors import NodeDiskFull, SERError, is_disk_full


@contextmanager
def naming_full_disk(folder: Path, *, hint: str | None = None) -> Iterator[None]:
    """Around what writes into ``folder`` alone.

    Args:
        folder: Where it writes.
        hint: What helps; None: space, and for a temporary folder TMPDIR.

    Raises:
        NodeDiskFull: Its disk is full; libraries say it by errors of their own.
    """
    try:
        yield
    except SERError:
        raise
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise NodeDiskFull(f"the disk of {folder} is full: {said_by(error)}", hint=hint or _what_helps(folder)) from error


def said_by(error: Exception) -> str:
    """What an error says is wrong, without the name of a file, which may be the one that was read."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error).split("\n")[0]


def _what_helps(folder: Path) -> str:
    temporary = folder.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve())
    return "free space there, or let TMPDIR name a folder on a larger disk" if temporary else "free space there"
