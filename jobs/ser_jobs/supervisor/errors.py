"""The errors that the supervisor reports because no process of the stage can."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ser_core.errors import Interrupted, OutOfMemory, RendezvousTimeout, StageHung
from ser_jobs.supervisor.silence import Silence
from ser_jobs.supervisor.supervision import Supervision


def rendezvous_timeout(settings: Supervision, missing: Sequence[int]) -> RendezvousTimeout:
    """The pods ``missing`` did not come to the rendezvous. Only pod 0 knows all of them."""
    return RendezvousTimeout(
        f"pod {settings.index} of {settings.pods} waited {settings.rendezvous:.0f} s for pod {_listed(missing)}, then gave up",
        hint="the cluster may not have room for all pods at once: ask for fewer nodes, or use a queue that admits all pods or none",
    )


def stage_hung(silences: Mapping[int, Silence], frozen: Sequence[int], saved: str | None) -> StageHung:
    """A process showed no sign of life for too long. A frozen process is named first, since the others wait for it.

    Args:
        silences: Of all processes, by rank.
        frozen: Ranks that SIGSTOP has frozen.
        saved: Where the stacks were saved; None: they were not.
    """
    hung = [rank for rank, silence in silences.items() if silence.too_long]
    rank = next(iter(frozen), min(hung))
    silence = silences[rank]
    state = " (stopped by SIGSTOP)" if rank in frozen else ""
    waiting = [other for other in hung if other != rank]
    told = f"rank {rank}{state} showed no sign of life for {silence.lasted:.0f} s (allowed: {silence.allowed:.0f} s), {silence.phase}"
    others = f"; rank {_listed(waiting)} waited too" if waiting else ""
    where = f"; stacks in {saved}" if saved else ""
    return StageHung(told + others + where, hint="the stacks show what each process was doing")


def unstopped(ranks: Sequence[int], grace: float) -> Interrupted:
    """The processes of ``ranks`` were still alive when the grace period was almost over, so they were killed."""
    return Interrupted(f"rank {_listed(ranks)} did not stop within {grace:.0f} s after SIGTERM", hint="raise SER_OPERATOR_GRACE_SECONDS")


def killed_by_kernel(rank: int, stage: str, plan: Path) -> OutOfMemory:
    """The kernel killed a process because the container had no memory left.

    Args:
        rank: Of the process.
        stage: The stage's spec as JSON.
        plan: File of the process's memory plan; it need not have written it.
    """
    # Imported only here: a healthy stage does not need it, and the supervisor must start fast.
    from ser_core.api.status import StageKind
    from ser_jobs.telemetry import memory_plan
    from ser_jobs.telemetry.memory import out_of_memory_of_container

    return out_of_memory_of_container(rank, StageKind(json.loads(stage)["stage"]), memory_plan.read(plan))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
