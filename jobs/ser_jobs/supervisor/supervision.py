"""The supervisor's settings: the variables that the operator renders, with their defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ser_jobs.supervisor.silence import Bounds


@dataclass(frozen=True, slots=True)
class Supervision:
    """How one pod of a gang is supervised.

    Attributes:
        processes: Number of processes in this pod.
        pods: Number of pods in the gang.
        index: Number of this pod.
        grace: Seconds from SIGTERM to SIGKILL.
        rendezvous: Seconds that the pods of a gang wait for each other.
        budget: Seconds, of the run's deadline or its GPU budget, after which the pod ends as on SIGTERM, even if nobody sends it.
        bounds: How long a process may show no sign of life.
    """

    processes: int = 1
    pods: int = 1
    index: int = 0
    grace: float = 120
    rendezvous: float = 600
    budget: float = float("inf")
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def world_size(self) -> int:
        """Number of processes in the gang."""
        return self.processes * self.pods

    @property
    def first_rank(self) -> int:
        """The lowest rank in this pod."""
        return self.processes * self.index


def from_environment(environment: Mapping[str, str]) -> Supervision:
    """The settings in the pod's environment; those that are not set have their defaults."""
    usual = Supervision()
    return Supervision(
        processes=int(environment.get("SER_PROCESSES", usual.processes)),
        pods=int(environment.get("SER_PODS", usual.pods)),
        index=int(environment.get("JOB_COMPLETION_INDEX", usual.index)),
        grace=float(environment.get("SER_GRACE_SECONDS", usual.grace)),
        rendezvous=float(environment.get("SER_RENDEZVOUS_SECONDS", usual.rendezvous)),
        budget=float(environment.get("SER_BUDGET_SECONDS", usual.budget)),
        bounds=Bounds(
            float(environment.get("SER_HANG_SECONDS", usual.bounds.step)),
            float(environment.get("SER_SILENT_SECONDS", usual.bounds.silent)),
        ),
    )
