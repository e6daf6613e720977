"""What the supervisor says of a stage whose processes cannot say it themselves."""

import json
from collections.abc import Mapping, Sequence

from ser_core.errors import Interrupted, OutOfMemory, RendezvousTimeout, StageHung
from ser_jobs.supervisor.silence import Silence
from ser_jobs.supervisor.supervision import Supervision


def rendezvous_timeout(told: Supervision, missing: Sequence[int]) -> RendezvousTimeout:
    """The pods ``missing`` did not come; only pod 0 knows them all."""
    return RendezvousTimeout(
        f"pod {told.index} of {told.pods} waited {told.rendezvous:.0f} s in vain for pod {_listed(missing)}",
        hint="there may be no room for all pods at once: ask for fewer nodes, or use a queue that admits all or none",
    )


def stage_hung(silences: Mapping[int, Silence], stopped: Sequence[int], saved: str | None) -> StageHung:
    """A process showed no sign of life for too long; a stopped one is named first, since the others wait for it.

    Args:
        silences: Of all processes, by rank.
        stopped: Ranks that are frozen by SIGSTOP.
        saved: Where the stacks are kept, as far as they are.
    """
    hung = [rank for rank, silence in silences.items() if silence.too_long]
    rank = next(iter(stopped), min(hung))
    silence = silences[rank]
    state = " (stopped by SIGSTOP)" if rank in stopped else ""
    waiting = [other for other in hung if other != rank]
    told = f"rank {rank}{state} showed no sign of life for {silence.lasted:.0f} s (allowed: {silence.allowed:.0f} s), {silence.phase}"
    others = f"; rank {_listed(waiting)} waited too" if waiting else ""
    where = f"; stacks in {saved}" if saved else ""
    return StageHung(told + others + where, hint="the stacks show where each process stood")


def unstopped(ranks: Sequence[int], grace: float) -> Interrupted:
    """Processes had to be killed after SIGTERM."""
    return Interrupted(f"rank {_listed(ranks)} did not stop within {grace:.0f} s after SIGTERM", hint="raise the grace period")


def killed_by_kernel(rank: int, stage: str) -> OutOfMemory:
    """The kernel has killed a process because the container's memory was used up. ``stage`` is the stage's spec as JSON."""
    # Only here, since the supervisor of a healthy stage needs none of it.
    from ser_core.api.status import StageKind
    from ser_jobs.process.memory import out_of_memory_of_container

    return out_of_memory_of_container(rank, StageKind(json.loads(stage)["stage"]))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
