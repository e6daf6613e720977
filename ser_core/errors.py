"""Every error that a user can meet, in one tree. The class of an error decides the exit code of the stage, and so whose fault its end is
(`ser_core.loop.deciding.faults`).

    SERError                      1   never raised itself                        nobody knows: charged
    ├── UsageError                2   the command line is wrong                  (command line only)
    ├── SpecError                10   the SERRun is wrong                        the inputs: the run fails at once
    ├── DataError                11   the data are wrong                         the inputs
    ├── QualityError             12   a quality gate refused the result          the inputs
    ├── StoreError               20   the store did not do what was asked        the world: never charged, the run waits
    │   ├── StoreAccessDenied    20   credentials or permissions                 the world
    │   ├── BucketNotFound       20   the store has no such bucket               the world
    │   ├── StoreRefused         20   an answer that waiting does not change     the world
    │   ├── ObjectNotFound       20   no object under that key                   the world
    │   └── CorruptObject        20   size or SHA-256 differs from the manifest  the world
    ├── NodeDiskFull             24   the node's disk has no space left          the world
    ├── ClusterError             20   the API server did not do what was asked   (command line only)
    │   └── ClusterAccessDenied  10   the user may not do that there             (command line only)
    ├── OutOfMemory              21   more memory needed than there is           memory: charged
    ├── StageHung                22   no heartbeat for too long                  nobody knows
    ├── RendezvousTimeout        23   a gang did not meet                        nobody knows
    └── Interrupted             143   SIGTERM; resumed from the last checkpoint  the world

An error names the field (or file and line), the value and the remedy: ``message`` says what is wrong and shows the
value, ``hint`` says what to do about it, ``reason`` is the stable CamelCase code that status and tests use.
"""

import errno
from typing import ClassVar


class SERError(Exception):
    """Base of all user-facing errors.

    Args:
        message: What is wrong, with the field or file and the offending value. No full stop.
        reason: CamelCase code for status and scripts; the class name when left out.
        hint: One-line remedy.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, reason: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).__name__
        self.hint = hint


class UsageError(SERError):
    """The options of a command do not say what to do."""

    exit_code = 2


class SpecError(SERError):
    """The SERRun cannot be used as written."""

    exit_code = 10


class DataError(SERError):
    """The preference data cannot be used."""

    exit_code = 11


class QualityError(SERError):
    """A result did not pass its check, for example because scores are not finite."""

    exit_code = 12


class StoreError(SERError):
    """The object store did not answer, or failed, until the deadline of the request."""

    exit_code = 20


class StoreAccessDenied(StoreError):
    """The credentials do not allow the operation. Keys are rotated, so the next attempt may have others."""


class BucketNotFound(StoreError):
    """The store has no bucket of that name, or not yet."""


class StoreRefused(StoreError):
    """The store, or what stands before it, refuses the request as it is sent: wrong address, region, certificate, clock or size."""


class ObjectNotFound(StoreError):
    """No object exists under the key."""


class CorruptObject(StoreError):
    """An object's size or SHA-256 differs from its manifest."""


class NodeDiskFull(SERError):
    """The disk that the stage works on has no space left, and no limit of the stage's own is the reason."""

    exit_code = 24


class ClusterError(SERError):
    """The API server cannot be reached, or failed. Only the command line raises it."""

    exit_code = 20


class ClusterAccessDenied(ClusterError):
    """The credentials do not allow the request."""

    exit_code = 10


class OutOfMemory(SERError):
    """The stage needs more memory than it has."""

    exit_code = 21


class StageHung(SERError):
    """The stage sent no heartbeat for too long."""

    exit_code = 22


class RendezvousTimeout(SERError):
    """Not all processes of a gang met in time."""

    exit_code = 23


class Interrupted(SERError):
    """The stage was asked to stop and has saved its checkpoint."""

    exit_code = 143


EXIT_DONE = 0
EXIT_NOTHING_TO_REPORT = 3
"""Exit code of ``mode: report`` when the stage has no manifest yet."""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, is a disk without space or a used-up quota. Libraries in Rust say it in words only."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error) or "Disk quota exceeded" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
