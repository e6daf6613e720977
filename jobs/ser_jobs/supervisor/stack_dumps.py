"""The stacks of a hung stage: every process dumps its own, and the supervisor saves them in the store beside the logs."""

import os
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from ser_jobs.supervisor.processes import is_stopped, send
from ser_jobs.telemetry.stacks import SIGNAL

_DUMP_SECONDS = 5.0
_UPLOAD_SECONDS = 60.0


def dump(processes: Mapping[int, int], files: Mapping[int, Path]) -> None:
    """Ask every process to dump its stacks, and wait until all have done so.

    Args:
        processes: Process id by rank.
        files: The file that each process writes to, by rank.
    """
    stopped = {rank for rank, pid in processes.items() if is_stopped(pid)}
    for rank in stopped:
        files[rank].write_text(f"process {processes[rank]} is stopped (SIGSTOP), so it cannot dump its stacks\n", encoding="utf-8")
    asked = {rank: pid for rank, pid in processes.items() if rank not in stopped}
    for pid in asked.values():
        send(pid, SIGNAL)
    deadline = time.monotonic() + _DUMP_SECONDS
    while time.monotonic() < deadline and not all(_size(files[rank]) for rank in asked):
        time.sleep(0.05)
    time.sleep(0.2)  # a dump is written in several pieces
    for rank, file in files.items():
        if _size(file):
            print(f"rank {rank}:\n{file.read_text(encoding='utf-8', errors='replace')}", file=sys.stderr, flush=True)


def upload(files: Mapping[int, Path]) -> str | None:
    """Save the dumped stacks, which are given by rank. Returns the folder's URI; None if the upload fails or takes too long."""
    saved: list[str] = []

    def save() -> None:
        try:
            saved.append(_upload(files))
        except Exception as error:
            print(f"the stacks were not saved: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=save, name="stacks", daemon=True)
    thread.start()
    thread.join(_UPLOAD_SECONDS)
    return saved[0] if saved else None


def _upload(files: Mapping[int, Path]) -> str:
    # Imported only here: a healthy stage does not need it, and the supervisor must start fast.
    from ser_core.api.stage import StageSpec
    from ser_core.store.objects.connect import connect
    from ser_core.store.stages.manifest import stage_prefix
    from ser_jobs.process.credentials import load_credentials

    spec = StageSpec.model_validate_json(os.environ["SER_STAGE"])
    load_credentials(os.environ)
    store = connect(spec.spec.storage, stands=True)
    folder = f"{stage_prefix(spec.run, spec.iteration, spec.stage)}/attempt-{spec.attempt}-{uuid.uuid4().hex[:8]}"
    for rank, path in files.items():
        if _size(path):
            store.upload(f"{folder}/stacks-rank-{rank:04d}.txt", path)
    return store.uri(folder)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
