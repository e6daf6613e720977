"""A process shows where it stands when its supervisor asks (`ser_jobs.supervisor.stack_dumps`)."""

import faulthandler
import os
import signal
from collections.abc import Mapping

VARIABLE = "SER_STACKS"
"""Environment variable with the file that a process dumps its stacks to."""
SIGNAL = signal.SIGUSR1


def dump_on_signal(environment: Mapping[str, str]) -> None:
    """Let this process write the stacks of its threads when it is asked to, even while it waits inside a library."""
    if path := environment.get(VARIABLE):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        faulthandler.register(SIGNAL, file=descriptor, all_threads=True, chain=False)
