"""A process dumps its stacks when the supervisor asks for them (`ser_jobs.supervisor.stack_dumps`)."""

import faulthandler
import os
import signal
from collections.abc import Mapping

VARIABLE = "SER_STACKS"
"""Environment variable with the file for the stacks of a process."""
SIGNAL = signal.SIGUSR1


def dump_on_signal(environment: Mapping[str, str]) -> None:
    """From now on, `SIGNAL` makes this process write the stacks of its threads, even while it waits inside a library."""
    if path := environment.get(VARIABLE):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        faulthandler.register(SIGNAL, file=descriptor, all_threads=True, chain=False)
